"""What can go wrong with a file of the store, one class for each thing that can be done about it.

No message holds a query string or a credential: a store URL has neither (see StoreLocation).
"""

from __future__ import annotations

from worker.core.errors import PermanentError, TransientError


class SourceKeyInvalidError(PermanentError):
    """A part of the key could leave its folder or change the structure of a URL."""

    step, code = "source", "source_key_invalid"


class SourceHostNotAllowedError(PermanentError):
    """The key leads to a host that is not on the allow-list."""

    step, code = "source", "source_host_not_allowed"


class SourceMissingError(TransientError):
    """The store says that there is no such file: its upload may still be on the way."""

    step, code = "source", "source_missing"


class SourceForbiddenError(TransientError):
    """The store does not let us see the file, or hides that it does not exist (403, EACCES).

    S3 answers 403 for a missing key to whoever may not list the bucket, so this is neither
    "missing" nor a refusal for good.
    Source: https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html
    """

    step, code = "source", "source_forbidden"


class SourceUnavailableError(TransientError):
    """The store could not answer in full: no connection, 408, 425, 429, 5xx, a cut body."""

    step, code = "source", "source_unavailable"


class SourceTimeoutError(TransientError):
    """The store did not answer in time."""

    step, code = "source", "source_timeout"


class SourceTooLargeError(PermanentError):
    """The file is larger than the caller can use."""

    step, code = "source", "source_too_large"


class SourceRedirectedError(PermanentError):
    """The store sends us elsewhere, which is never followed."""

    step, code = "source", "source_redirected"


class SourceRefusedError(PermanentError):
    """The store refuses the request for good, or answers in a way that cannot be used."""

    step, code = "source", "source_refused"


class SourceNotRegularError(PermanentError):
    """The key names something else than a regular file inside the store's folder."""

    step, code = "source", "source_not_regular"
