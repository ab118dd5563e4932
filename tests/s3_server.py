"""An S3 server on the loopback interface, in this process."""

import contextlib
import os
import threading

import pytest
from moto import settings
from moto.core import DEFAULT_ACCOUNT_ID
from moto.core.responses import ActionAuthenticatorMixin
from moto.s3.models import s3_backends
from moto.server import ThreadedMotoServer

BUCKET = "bucket"


class S3Server:
    """A server with one bucket, whose content outlives `stop`."""

    def __init__(self):
        self._port = 0
        self._content = s3_backends[DEFAULT_ACCOUNT_ID]["aws"]
        self._content.create_bucket(BUCKET, "us-east-1")
        self.start()

    def start(self):
        self._server = ThreadedMotoServer("127.0.0.1", self._port, verbose=False)
        self._server.start()
        _, self._port = self._server.get_host_and_port()

    def stop(self):
        self._server.stop()

    @property
    def address(self):
        return f"http://127.0.0.1:{self._port}"

    def put(self, key, content):
        self._content.put_object(BUCKET, key, content)

    def get(self, key):
        return self._content.get_object(BUCKET, key).value

    def list(self, prefix=""):
        """Returns the keys that begin with a prefix, without it, sorted."""
        keys = self._content.buckets[BUCKET].keys
        return sorted(k.removeprefix(prefix) for k in keys if k.startswith(prefix))

    @contextlib.contextmanager
    def denying(self):
        """Within, nobody has access."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(settings, "INITIAL_NO_AUTH_ACTION_COUNT", 0.0)
            patch.setattr(ActionAuthenticatorMixin, "request_count", 0)
            yield

    @contextlib.contextmanager
    def holding(self, key):
        """Within, the upload of a key does not end; gives an event: it has begun."""
        begun, released = threading.Event(), threading.Event()
        real_put = self._content.put_object

        def put(bucket, name, *args, **options):
            if name == key:
                begun.set()
                released.wait()
                raise ConnectionError
            return real_put(bucket, name, *args, **options)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(self._content, "put_object", put)
            yield begun
            released.set()

    @contextlib.contextmanager
    def stopped(self):
        """Within, it cannot be reached."""
        self.stop()
        try:
            yield
        finally:
            self.start()

    def close(self):
        self.stop()
        self._content.reset()


@contextlib.contextmanager
def serve(folder):
    """Gives a server that fsspec uses for s3://; `folder` is for empty settings."""
    server = S3Server()
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            patch.delenv(name)
        for name, value in {
            "AWS_ENDPOINT_URL": server.address,
            "AWS_ACCESS_KEY_ID": "key",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_MAX_ATTEMPTS": "1",
            "AWS_CONFIG_FILE": str(folder / "config"),
            "AWS_SHARED_CREDENTIALS_FILE": str(folder / "credentials"),
        }.items():
            patch.setenv(name, value)
        forget_connections()
        yield server
    forget_connections()
    server.close()


def forget_connections():
    """Has the next access to s3:// read the environment again."""
    import s3fs

    s3fs.S3FileSystem.clear_instance_cache()
