"""The bundled pipeline: one job posting in, ``CV.md``, ``CV.docx``, ``cover_letter.txt`` and ``dossier.txt`` out.

It works offline, on the posting's own words and the master CV, and never states anything about the candidate
that the master CV does not say. It knows nothing of the launcher that starts it: its whole interface is the
command line, the environment, standard output, the exit code and the folder of artifacts.
"""
