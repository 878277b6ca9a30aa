"""The bundled pipeline: one job posting in, ``CV.md``, ``CV.docx``, ``cover_letter.txt`` and ``dossier.txt`` out.

It works offline, from the posting's text and the master CV, and claims nothing about the candidate that the master
CV does not say. It is independent of the launcher: its interface is the command line, the environment, standard
output, the exit code and the artifacts folder.
"""
