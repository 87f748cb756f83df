"""The health check of the container: asks /healthz where KIAI_PORT and KIAI_TLS say that the server is."""

import contextlib
import http.client
import os
import ssl
import sys
from collections.abc import Mapping
from typing import Final

ANSWER_S: Final = 2.0


def problem(environment: Mapping[str, str]) -> str | None:
    """Return why the server is not healthy, or None."""
    tls = environment.get("KIAI_TLS") or "off"
    port = environment.get("KIAI_PORT") or ("8080" if tls == "off" else "443")
    try:
        with contextlib.closing(connection(int(port), tls=tls != "off")) as asked:
            asked.request("GET", "/healthz", headers={"Host": "localhost"})
            status = asked.getresponse().status
    except (OSError, ValueError, http.client.HTTPException) as error:
        return f"port {port}: {error}"
    return None if status == http.client.OK else f"port {port}: status {status}"


def connection(port: int, *, tls: bool) -> http.client.HTTPConnection:
    """Return a connection to this machine. The certificate is not checked, because it is not for this name."""
    if not tls:
        return http.client.HTTPConnection("127.0.0.1", port, timeout=ANSWER_S)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return http.client.HTTPSConnection("127.0.0.1", port, timeout=ANSWER_S, context=context)


if __name__ == "__main__":
    sys.exit(problem(os.environ))
