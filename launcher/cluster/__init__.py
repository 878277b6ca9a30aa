"""Kubernetes as Slipway sees it: one client of plain dictionaries, manifests as pure functions, and what they mean."""
