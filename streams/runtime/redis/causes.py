"""Why Redis does not answer or refuses, in words that say what to mend."""

import re
from typing import Final

_CAUSES: Final = {
    r"self.signed certificate|unable to get (local )?issuer": (
        "the CA of its certificate is not known: name a file with it, ?ssl_ca_certs=PATH"
    ),
    r"[Hh]ostname mismatch|IP address mismatch": "its certificate is for another host name",
    r"certificate has expired|is not yet valid": "its certificate has expired, or a clock is wrong",
    r"CERTIFICATE_REQUIRED|HANDSHAKE_FAILURE": (
        "it wants a client's certificate, &ssl_certfile=PATH&ssl_keyfile=PATH"
    ),
    r"ALERT_UNKNOWN_CA": "it does not know the CA of this client's certificate",
    r"WRONG_VERSION_NUMBER|RECORD_LAYER": "it does not speak TLS: write redis in place of rediss",
    r"NO_CERTIFICATE_OR_CRL_FOUND|PEM": "the file of ssl_ca_certs holds no certificate",
    r"[Cc]onnection refused": "connection refused",
    r"Name or service not known|[Nn]o address associated|name resolution": "the name is not known",
    r"KEY_VALUES_MISMATCH": "ssl_keyfile is not the key of ssl_certfile",
}
_AT_FIRST: Final = {
    r"reset by peer|[Cc]onnection closed|[Bb]roken pipe": (
        "it ended the connection; if it speaks TLS, write rediss in place of redis; "
        "it may want a client's certificate, &ssl_certfile=PATH&ssl_keyfile=PATH"
    ),
    r"Timeout connecting": "no answer while connecting; to rediss a Redis without TLS gives none",
}
_REFUSALS: Final = {
    r"sentinels: (Authentication|invalid)": (
        "they want another password: set STREAMS_REDIS_SENTINEL_PASSWORD, or "
        "STREAMS_REDIS_SENTINEL_PASSWORD_FILE"
    ),
    r"username-password|user is disabled|WRONGPASS": "the user or the password is wrong",
    r"Authentication required|NOAUTH": (
        "it wants a password: set STREAMS_REDIS_PASSWORD, or STREAMS_REDIS_PASSWORD_FILE"
    ),
    r"no permissions|NOPERM|the script can't": "its user lacks a right that config/redis.acl lists",
    r"cluster support disabled": "it is no cluster: write redis in place of redis+cluster",
    r"unknown command .SENTINEL": "it is no sentinel: write redis in place of redis+sentinel",
}
_WHERE: Final = re.compile(r"connecting to ([^\s]+:\d+)\.")


def cause_of(text: str, *, at_first: bool = False) -> str:
    """Return why a connection failed; `at_first`: nothing was answered to this process yet.

    >>> cause_of("Error 1 connecting to h:6379. [SSL: WRONG_VERSION_NUMBER] wrong version (1006).")
    'h:6379: it does not speak TLS: write redis in place of rediss'
    """
    for pattern, cause in (_CAUSES | (_AT_FIRST if at_first else {})).items():
        if re.search(pattern, text):
            where = _WHERE.search(text)
            return f"{where[1]}: {cause}" if where else cause
    return text.rstrip(".")


def refusal_of(text: str) -> str:
    """Return why Redis refuses, with its own words behind.

    >>> refusal_of("Authentication required.").partition(":")[0]
    'it wants a password'
    """
    text = text.rstrip(".")
    for pattern, cause in _REFUSALS.items():
        if re.search(pattern, text):
            return f"{cause} ({text})"
    return text
