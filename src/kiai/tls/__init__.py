"""Certificates for https: where they are from, the folder that stores them, and their renewal.

`plan.py` says how the operator wants it. `folder.py` stores certificates, keys and the state of renewals in `tls/` of
the data folder, from which all workers and the command line read. `serving.py` has the certificate that a server sends.
"""
