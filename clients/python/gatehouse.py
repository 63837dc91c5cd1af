"""A client for Gatehouse in one file, for Python 3.9 and newer, on the standard library alone.

    from gatehouse import Gatehouse

    gatehouse = Gatehouse("https://gatehouse.example.com", token)
    team = gatehouse.post("/workspaces", {"name": "Team"})
    for member in gatehouse.pages(f"/workspaces/{team['id']}/members"):
        print(member["email"], member["role"])

Each write carries an Idempotency-Key, one for all its tries, so that it takes effect once whatever becomes of the first answer. To be able
to repeat one after the last try, give it a key of your own: ``idempotency_key="…"``.
"""

import email.utils
import http.client
import json
import random
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid
from typing import Any, Callable, Dict, Iterator, List, Optional, Tuple, TypeVar

__all__ = ["Gatehouse", "GatehouseError"]

_T = TypeVar("_T")

_PASSING = (429, 502, 503, 504)
# Of model and tool calls only these say that nothing was done: a second try of any other may be paid twice.
_UNDONE = (429, 503)
_LONGEST_WAIT = 60.0
# What may stand in a path as it is. A name with a slash or a question mark goes through urllib.parse.quote(name, safe="") first.
_SAFE = "/?%:@!$&'()*+,;=~"
_GATEWAY = ("/v1/", "/anthropic/", "/mcp")


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """Follows nothing: the token is for this service alone, and it answers API calls with no redirects."""

    def redirect_request(self, *_: Any) -> None:
        return None


_OPENER = urllib.request.build_opener(_NoRedirects)


class GatehouseError(Exception):
    """What the service refused; the text says what to do.

    status: HTTP status. code: of the contract, such as ``workspace_exists``, each with a page under /docs/errors.
    request_id: for whoever runs the service. errors: where the input is wrong, as JSON pointers with a reason.
    retry_after: seconds to wait, or None. body: the whole answer.
    """

    def __init__(self, status: int, headers: Any, body: Any) -> None:
        # The control plane answers problem documents, /v1 and /anthropic an object `error` in their wire's shape.
        told = body.get("error", body) if isinstance(body, dict) else {}
        told = told if isinstance(told, dict) else {}
        super().__init__(told.get("detail") or told.get("message") or told.get("title") or _describe(status, headers))
        self.status = status
        self.code: str = told.get("code") or told.get("type") or "unknown"
        self.request_id: Optional[str] = headers.get("x-request-id")
        self.errors: List[Dict[str, Any]] = told.get("errors") or []
        self.retry_after: Optional[float] = _retry_after(headers)
        self.body = body


class Gatehouse:
    """Calls one Gatehouse with one token: a session token, a personal token or an API key.

    base_url: such as ``https://gatehouse.example.com``. workspace: id or slug that ``current`` stands for; only for a person's
    tokens. retries: how often a request is sent again whose answer was lost or broke off, or was 429, 502, 503 or 504; model and tool calls
    only at 429 and 503, when nothing was done. timeout: seconds without a byte. on_retry: told (try, seconds to wait, status or None) before each wait.

    A refusal raises GatehouseError; no answer, or one that broke off, OSError or http.client.HTTPException.
    """

    def __init__(
        self,
        base_url: str,
        token: str,
        *,
        workspace: Optional[str] = None,
        retries: int = 4,
        timeout: float = 30.0,
        on_retry: Optional[Callable[[int, float, Optional[int]], None]] = None,
    ) -> None:
        self.base_url = base_url.rstrip("/")
        self._headers = {"authorization": f"Bearer {token}", "user-agent": "gatehouse-python"}
        if workspace is not None:
            self._headers["x-workspace"] = workspace
        self._retries = retries
        self._timeout = timeout
        self._on_retry = on_retry

    def get(self, path: str, **query: Any) -> Any:
        """Reads. Query parameters go by name (``**{"from": …}`` where Python takes the name for itself); None ones are left out."""
        return self.request("GET", path, query=query)

    def post(self, path: str, body: Any = None, **options: Any) -> Any:
        """Creates or does something. Options are those of `request`."""
        return self.request("POST", path, body, **options)

    def put(self, path: str, body: Any, **options: Any) -> Any:
        """Replaces. Options are those of `request`."""
        return self.request("PUT", path, body, **options)

    def patch(self, path: str, body: Any, **options: Any) -> Any:
        """Changes. Options are those of `request`; `if_match` takes the ETag that was read."""
        return self.request("PATCH", path, body, **options)

    def delete(self, path: str, body: Any = None, **options: Any) -> Any:
        """Removes. Options are those of `request`."""
        return self.request("DELETE", path, body, **options)

    def request(self, method: str, path: str, body: Any = None, **options: Any) -> Any:
        """Sends one request and gives the answer: JSON as what it says, text as str, anything else, such as speech, as bytes, nothing as None.

        body goes out as JSON. Options: form, in its place, the fields of a multipart form, where ``(name, bytes)`` is a file; query, a dict;
        if_match, the ETag that was read; idempotency_key; headers, such as ``{"anthropic-version": "2023-06-01"}``.
        """
        return self._send(self._build(method, path, body, **options), _Answer).value

    def read(self, path: str, **query: Any) -> Tuple[Any, Optional[str]]:
        """Reads one thing, and its ETag for `if_match`; None where it has none."""
        answer = self._send(self._build("GET", path, query=query), _Answer)
        return answer.value, answer.headers.get("etag")

    def pages(self, path: str, **query: Any) -> Iterator[Dict[str, Any]]:
        """Every item of a list, page by page as it is iterated."""
        while True:
            page = self.get(path, **query)
            yield from page["data"]
            if page.get("next_cursor") is None:
                return
            query["cursor"] = page["next_cursor"]

    def lines(self, path: str, **query: Any) -> Iterator[str]:
        """The lines of a streamed answer, such as an export, as they come."""
        with self._send(self._build("GET", path, query=query), _itself) as response:
            for line in _lines(response):
                yield line.decode("utf-8").rstrip("\r")

    def events(self, path: str, body: Any = None, **options: Any) -> Iterator[Dict[str, Any]]:
        """The events of a streamed model call, such as POST /v1/chat/completions with ``stream: True``. Options are those of `request`.

        Raises GatehouseError for an error event, too.
        """
        with self._send(self._build("POST", path, body, **options), _itself) as response:
            for line in _lines(response):
                if not line.startswith(b"data:"):
                    continue
                data = line[5:].strip()
                if data == b"[DONE]":
                    return
                event = json.loads(data)
                if isinstance(event, dict) and event.get("error"):
                    raise GatehouseError(response.status, response.headers, event)
                yield event

    def _send(self, request: urllib.request.Request, take: Callable[[Any], _T]) -> _T:
        """What `take` makes of the answer. Where that fails, the answer is lost as it is without a network, and may be asked for again."""
        path = urllib.parse.urlsplit(request.full_url[len(self.base_url) :]).path
        is_call = request.get_method() == "POST" and (path.startswith(_GATEWAY) or (path.endswith("/invoke") and "/tools/" in path))
        tries = 0
        while True:
            try:
                return take(_OPENER.open(request, timeout=self._timeout))
            except urllib.error.HTTPError as answer:
                try:
                    error: Exception = GatehouseError(answer.code, answer.headers, _Answer(answer).value)
                    may_retry = self._passes(answer, is_call)
                except (OSError, http.client.HTTPException) as trouble:
                    error, may_retry = trouble, not is_call
            except (OSError, http.client.HTTPException) as trouble:
                # A call whose answer was lost may have been made: nobody but the caller knows whether to pay for another.
                error, may_retry = trouble, not is_call
            if tries >= self._retries or not may_retry:
                raise error
            told = error.retry_after if isinstance(error, GatehouseError) else None
            wait = min(_LONGEST_WAIT, told if told is not None else 0.25 * 2**tries * random.uniform(1, 1.5))
            tries += 1
            if self._on_retry is not None:
                self._on_retry(tries, wait, getattr(error, "status", None))
            time.sleep(wait)

    def _build(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        form: Optional[Dict[str, Any]] = None,
        query: Optional[Dict[str, Any]] = None,
        if_match: Optional[str] = None,
        idempotency_key: Optional[str] = None,
        headers: Optional[Dict[str, str]] = None,
    ) -> urllib.request.Request:
        given = {name: str(value).lower() if isinstance(value, bool) else value for name, value in (query or {}).items() if value is not None}
        search = f"?{urllib.parse.urlencode(given, doseq=True)}" if given else ""
        url = f"{self.base_url}{urllib.parse.quote(path, safe=_SAFE)}{search}"
        request = urllib.request.Request(url, method=method, headers={**self._headers, **(headers or {})})
        if form is not None:
            boundary = uuid.uuid4().hex
            request.data = _form(form, boundary)
            request.add_header("Content-Type", f"multipart/form-data; boundary={boundary}")
        elif body is not None:
            request.data = json.dumps(body).encode("utf-8")
            request.add_header("Content-Type", "application/json")
        if if_match is not None:
            request.add_header("If-Match", if_match)
        if method != "GET" and not path.startswith(_GATEWAY):
            request.add_header("Idempotency-Key", idempotency_key or str(uuid.uuid4()))
        return request

    @staticmethod
    def _passes(answer: urllib.error.HTTPError, is_call: bool) -> bool:
        if answer.headers.get("x-should-retry") == "false":
            return False
        # 409 with Retry-After says that the same request is under way.
        return answer.code in (_UNDONE if is_call else _PASSING) or (answer.code == 409 and answer.headers.get("retry-after") is not None)


def _itself(response: Any) -> Any:
    return response


class _Answer:
    """An answer read to its end: its headers, and the value that its body stands for. Raises http.client.IncompleteRead when it broke off."""

    def __init__(self, response: Any) -> None:
        with response:
            body: bytes = response.read()
        self.headers = response.headers
        kind = self.headers.get_content_type()
        self.value: Any = body or None
        if body and (kind == "application/json" or kind.endswith("+json")):
            try:
                self.value = json.loads(body)
            except ValueError:
                # Where nothing announces the length, this alone tells a part from the whole.
                raise http.client.IncompleteRead(body) from None
        elif body and (kind.startswith("text/") or kind == "application/x-ndjson"):
            self.value = body.decode("utf-8", "replace")


def _lines(response: http.client.HTTPResponse) -> Iterator[bytes]:
    """Lines without their ends. Iterating the response itself takes one that broke off for a whole one."""
    rest = b""
    while True:
        chunk = response.read1(65536)
        if not chunk:
            break
        *whole, rest = (rest + chunk).split(b"\n")
        yield from whole
    if response.length:
        raise http.client.IncompleteRead(rest, response.length)
    if rest:
        yield rest


def _form(fields: Dict[str, Any], boundary: str) -> bytes:
    """A multipart form. A value may be text, a number, ``(file name, bytes)``, or a list of these."""
    parts = []
    for name, given in fields.items():
        for value in given if isinstance(given, list) else [given]:
            disposition, content = f'form-data; name="{name}"', value
            if isinstance(value, tuple):
                disposition, content = f'{disposition}; filename="{value[0]}"\r\nContent-Type: application/octet-stream', value[1]
            head = f"--{boundary}\r\nContent-Disposition: {disposition}\r\n\r\n".encode("utf-8")
            parts.append(head + (content if isinstance(content, bytes) else str(content).encode("utf-8")) + b"\r\n")
    return b"".join(parts) + f"--{boundary}--\r\n".encode("utf-8")


def _describe(status: int, headers: Any) -> str:
    """For an answer that is not the service's own: one of a proxy before it, or of another server."""
    if 300 <= status < 400:
        return f"The address answers with a redirect to {headers.get('location')}: base_url must be Gatehouse's own."
    return f"HTTP {status}"


def _retry_after(headers: Any) -> Optional[float]:
    text = headers.get("retry-after")
    if text is None:
        return None
    try:
        return max(0.0, float(text))
    except ValueError:
        pass
    try:
        return max(0.0, email.utils.parsedate_to_datetime(text).timestamp() - time.time())
    except (TypeError, ValueError):
        return None
