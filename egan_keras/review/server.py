"""The page's server: for this machine alone, and for who knows its address."""

import hmac
import secrets
import socket
from collections.abc import Callable
from importlib import resources
from typing import Any

from egan_keras.data.decoding import UnreadableError
from egan_keras.review.session import RefusedError, Session

ADDRESS = "127.0.0.1"
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; img-src 'self'; style-src 'self'; "
    "script-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}
# Pictures that were loaded ahead are not asked for again.
_SECONDS_KEPT = 600
_MOST_BYTES = 10_000
_STATIC = {
    "": ("egan_keras.review", "review.html", "text/html"),
    "review.js": ("egan_keras.review", "review.js", "text/javascript"),
    "review.css": ("egan_keras.review", "review.css", "text/css"),
    "icon.svg": ("egan_keras.review", "icon.svg", "image/svg+xml"),
    "page.css": ("egan_keras.evaluation", "page.css", "text/css"),
}

Picture = Callable[[int], bytes]


def make_app(
    session: Session, picture: Picture, heat_map: Picture, *, token: str, port: int
) -> Any:
    """Returns the WSGI application of the page.

    It answers requests to this machine's own address alone, whatever name other pages
    give it, and below a secret path alone, the token; it takes what changes something
    from its own page alone. Images, and those under heat maps, are asked for by number.
    """
    flask = _flask()
    app = flask.Flask(__name__, static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = _MOST_BYTES
    hosts = [f"{ADDRESS}:{port}", f"localhost:{port}"]

    def said(status: int, text: str) -> Any:
        return flask.Response(text, status, content_type="text/plain; charset=utf-8")

    @app.before_request
    def check() -> Any:
        request = flask.request
        if request.host not in hosts:
            return said(403, "This page answers at its own address alone.")
        given = request.path.split("/")[1]
        if not hmac.compare_digest(given.encode(), token.encode()):
            return said(404, "There is nothing here.")
        is_own = request.headers.get("Origin") in [f"http://{host}" for host in hosts]
        if request.method == "POST" and not (is_own and request.is_json):
            return said(403, "Labels are taken from the page alone.")
        return None

    @app.after_request
    def protect(response: Any) -> Any:
        response.headers.update(_HEADERS)
        response.headers.setdefault("Cache-Control", "no-store")
        return response

    @app.get(f"/{token}/")
    @app.get(f"/{token}/<name>")
    def page(name: str = "") -> Any:
        if name not in _STATIC:
            return said(404, "There is nothing here.")
        package, file, kind = _STATIC[name]
        content = resources.files(package).joinpath("page", file).read_bytes()
        return flask.Response(content, content_type=f"{kind}; charset=utf-8")

    @app.get(f"/{token}/state")
    def state() -> Any:
        return session.state()

    @app.get(f"/{token}/<any(image, heat):what>/<int:number>.jpg")
    def show(what: str, number: int) -> Any:
        if not session.has(number):
            return said(404, "There is no such image.")
        try:
            content = (picture if what == "image" else heat_map)(number)
        except UnreadableError as error:
            session.pass_over(number, str(error))
            return said(410, "The image cannot be shown.")
        response = flask.Response(content, content_type="image/jpeg")
        response.headers["Cache-Control"] = f"private, max-age={_SECONDS_KEPT}"
        return response

    def changed(action: Callable[[], None]) -> Any:
        try:
            action()
        except RefusedError as error:
            return session.state() | {"refused": str(error)}, 409
        except OSError as error:
            told = f"Not written, and nothing is lost: {error}"
            return session.state() | {"refused": told}, 507
        return session.state()

    @app.post(f"/{token}/label")
    def label() -> Any:
        given = flask.request.get_json()
        given = given if isinstance(given, dict) else {}
        number, kind = given.get("number"), given.get("kind")
        if not (type(number) is int and isinstance(kind, str)):
            return said(400, "A label is the number of an image and a kind.")
        return changed(lambda: session.label(number, kind))

    @app.post(f"/{token}/undo")
    def undo() -> Any:
        return changed(session.undo)

    @app.post(f"/{token}/train")
    def train() -> Any:
        return changed(session.train)

    return app


class Server:
    """Serves a page until it is stopped, with a thread for each request.

    Port 0 takes any free one; `token` is the secret part of the address, `url`.
    """

    def __init__(self, port: int = 0) -> None:
        _flask()
        self._socket = socket.socket()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            self._socket.bind((ADDRESS, port))
        except OSError as error:
            self._socket.close()
            raise OSError(
                "The page cannot be served at this port; expected a free one that this "
                f"user may take. Received: --port {port} ({error.strerror}). Name "
                "another one, or leave it out to get any."
            ) from error
        self._socket.listen(128)
        self.port = self._socket.getsockname()[1]
        self.token = secrets.token_urlsafe(24)
        self.url = f"http://{ADDRESS}:{self.port}/{self.token}/"
        self._server: Any = None

    def serve(self, app: Any) -> None:
        """Serves an application until `stop`, or Ctrl-C in the main thread."""
        from werkzeug import serving

        class Quiet(serving.WSGIRequestHandler):
            """Prints no line for each request."""

            def log(self, *arguments: Any) -> None:
                """Prints nothing."""

        made = {"threaded": True, "request_handler": Quiet}
        self._server = serving.make_server(
            ADDRESS, self.port, app, fd=self._socket.fileno(), **made
        )
        try:
            self._server.serve_forever()
        finally:
            self._socket.close()

    def stop(self) -> None:
        """Ends `serve`, which another thread is in."""
        self._server.shutdown()


def _flask() -> Any:
    try:
        import flask
    except ImportError as error:
        raise ImportError(
            "The page that labels needs Flask; expected it to be installed. Received: "
            f"{error}. Install it: pip install 'egan-keras[review]'."
        ) from error
    return flask
