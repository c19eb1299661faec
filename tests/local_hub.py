"""A stand-in for the Hugging Face Hub: what huggingface_hub asks of it over HTTP, on this machine.

It has dataset repositories with their commits, tokens that may read or write, and a storage of its
own for large files, at another address, as the Hub has. Requests of huggingface_hub 2 for
`dataset_info`, `create_repo`, `create_commit` and `hf_hub_download` are answered, and refused, as
the Hub does it; files go by Git LFS, as they do without the package hf_xet. Anything else is an
error 404 that huggingface_hub does not expect.
"""

import base64
import hashlib
import json
import socket
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from urllib.parse import unquote, urlsplit

import yaml

USER = "me"
TOKENS = {"hf_writes": "write", "hf_reads": "read"}
# Of the Hub's list, for the files that a set has.
LARGE = (".npz", ".png")


@dataclass
class Repository:
    private: bool = False
    # Each commit: its hash, its message, and the content of all files.
    commits: list = field(default_factory=list)
    tags: dict = field(default_factory=dict)

    @property
    def head(self):
        return self.commits[-1][0]

    @property
    def files(self):
        return self.commits[-1][2]

    def commit(self, message, files):
        content = json.dumps([len(self.commits), message, sorted(files)])
        self.commits.append((hashlib.sha1(content.encode()).hexdigest(), message, files))
        return self.head

    def at(self, revision):
        """Return hash and files of a revision; None if there is none."""
        revision = self.tags.get(revision, self.head if revision == "main" else revision)
        return next(((oid, files) for oid, _, files in self.commits if oid == revision), None)


@dataclass
class Fault:
    method: str
    part: str
    status: int | None
    times: int


class LocalHub:
    """A running stand-in; as a context manager it stops with its block.

    `repositories` are its repositories by name, `requests` what was asked, as (method, path), and
    `stored` the large files by their SHA-256.
    """

    def __init__(self):
        self.repositories, self.requests, self.stored, self.faults = {}, [], {}, []
        self.servers = [self._server(Hub), self._server(Storage)]
        self.endpoint, self.storage = (
            f"http://127.0.0.1:{server.server_port}" for server in self.servers
        )

    def _server(self, handler):
        server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        server.daemon_threads, server.hub = True, self
        Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return server

    def __enter__(self):
        return self

    def __exit__(self, *error):
        for server in self.servers:
            server.shutdown()
            server.server_close()

    def reset(self):
        """Forget everything."""
        for memory in (self.repositories, self.requests, self.stored, self.faults):
            memory.clear()

    def fail(self, method, part, status=None, times=1000):
        """Answer such requests with a status; without one, break off in the middle."""
        self.faults.append(Fault(method, part, status, times))

    def asked(self, method, part=""):
        """Return the paths of the requests of this method that hold this part."""
        return [path for done, path in self.requests if done == method and part in path]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Head and body are sent one after the other: the second would wait for the first's receipt.
    disable_nagle_algorithm = True

    def log_message(self, *args):
        pass

    @property
    def hub(self):
        return self.server.hub

    def handle_any(self):
        self.path = unquote(urlsplit(self.path).path)
        self.hub.requests.append((self.command, self.path))
        fault = next((f for f in self.hub.faults if self._is(f)), None)
        if fault is not None:
            fault.times -= 1
        if fault is not None and fault.status is None and self.command == "PUT":
            self.rfile.read(int(self.headers.get("Content-Length", 2)) // 2)
            return self.hang_up()
        self.body = self._body()
        if fault is not None and fault.status is not None:
            return self.refuse(fault.status, "", "it is out of order")
        self.broken = fault is not None
        return self.answer()

    do_GET = do_HEAD = do_POST = do_PUT = handle_any  # noqa: N815

    def _is(self, fault):
        return fault.times > 0 and fault.method == self.command and fault.part in self.path

    def _body(self):
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def hang_up(self):
        self.close_connection = True
        with suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)

    def send(self, content=b"", status=200, **headers):
        self.send_response(status)
        headers.setdefault("Content_Length", str(len(content)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command == "HEAD":
            return
        if self.broken:
            self.wfile.write(content[: len(content) // 2])
            self.wfile.flush()
            return self.hang_up()
        self.wfile.write(content)

    def send_json(self, value, status=200, **headers):
        self.send(json.dumps(value).encode(), status, Content_Type="application/json", **headers)

    def refuse(self, status, code, message):
        self.broken = False
        self.send_json({"error": message}, status, X_Error_Code=code, X_Error_Message=message)


class Hub(Handler):
    """The Hub itself."""

    def answer(self):
        self.role = None
        if "Authorization" in self.headers:
            self.role = TOKENS.get(self.headers["Authorization"].removeprefix("Bearer "))
            if self.role is None:
                return self.refuse(401, "", "Invalid credentials in Authorization header")
        match self.command, *self.path.strip("/").split("/"):
            case "POST", "api", "repos", "create":
                return self.create()
            case "POST", "api", "validate-yaml":
                return self.validate()
            case "GET", "api", "datasets", user, name:
                return self.within(user, name, "main", self.info)
            case "POST", "api", "datasets", user, name, "preupload", revision:
                return self.within(user, name, revision, self.preupload, write=True)
            case "POST", "api", "datasets", user, name, "commit", revision:
                return self.within(user, name, revision, self.commit, write=True)
            case "POST", "datasets", user, name, "info", "lfs", "objects", "batch":
                name = name.removesuffix(".git")
                return self.within(user, name, "main", self.batch, write=True)
            case "POST", "verify":
                return self.verify()
            case "GET" | "HEAD", "datasets", user, name, "resolve", revision, *path:
                return self.within(user, name, revision, self.resolve, "/".join(path))
        return self.refuse(404, "", f"{self.command} {self.path} is nothing that the Hub has")

    def within(self, user, name, revision, answer, *rest, write=False):
        """Answer for a repository, if the token may see it, and write there if need be."""
        self.repo_id = f"{user}/{name}"
        repository = self.hub.repositories.get(self.repo_id)
        if repository is None or (repository.private and self.role is None):
            return self.refuse(401 if self.role is None else 404, "RepoNotFound", "Not found")
        if write and self.role != "write":
            return self.refuse(403, "", "you must use a token that may write")
        if repository.at(revision) is None:
            return self.refuse(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        return answer(repository, revision, *rest)

    def create(self):
        asked = json.loads(self.body)
        assert asked["type"] == "dataset"
        repo_id = f"{asked['organization']}/{asked['name']}"
        if self.role != "write" or asked["organization"] != USER:
            return self.refuse(403, "", f"you may not create a dataset in {asked['organization']}")
        if repo_id in self.hub.repositories:
            return self.refuse(409, "", "you already created this dataset repo")
        # Newer versions of huggingface_hub say the one, older ones the other.
        private = asked.get("visibility") == "private" or bool(asked.get("private"))
        repository = self.hub.repositories[repo_id] = Repository(private)
        repository.commit("initial commit", {".gitattributes": b"*.npz filter=lfs"})
        return self.send_json({"url": f"{self.hub.endpoint}/datasets/{repo_id}"})

    def validate(self):
        asked = json.loads(self.body)
        _, front, _ = asked["content"].split("---\n", 2)
        try:
            known = yaml.safe_load(front)
            problems = [] if isinstance(known["license"], str) else ["license must be a string"]
        except (yaml.YAMLError, KeyError) as error:
            problems = [str(error)]
        errors = [{"message": problem} for problem in problems]
        self.send_json({"errors": errors, "warnings": []}, 400 if errors else 200)

    def info(self, repository, revision):
        siblings = [{"rfilename": name} for name in repository.files]
        self.send_json({"id": self.repo_id, "sha": repository.head, "siblings": siblings})

    def preupload(self, repository, revision):
        answers = []
        for file in json.loads(self.body)["files"]:
            large = file["path"].endswith(LARGE)
            content = repository.files.get(file["path"])
            oid = None if content is None else _oid(content, large)
            mode = "lfs" if large else "regular"
            answers.append(
                {"path": file["path"], "uploadMode": mode, "shouldIgnore": False, "oid": oid}
            )
        self.send_json({"files": answers})

    def batch(self, repository, revision):
        asked = json.loads(self.body)
        assert (asked["operation"], asked["hash_algo"]) == ("upload", "sha256")
        objects = []
        for item in asked["objects"]:
            if item["oid"] not in self.hub.stored:
                upload = {"href": f"{self.hub.storage}/upload/{item['oid']}"}
                verify = {"href": f"{self.hub.endpoint}/verify"}
                item["actions"] = {"upload": upload, "verify": verify}
            objects.append(item)
        self.send_json({"transfer": "basic", "objects": objects})

    def verify(self):
        asked = json.loads(self.body)
        if len(self.hub.stored.get(asked["oid"], b"")) != asked["size"]:
            return self.refuse(400, "", "the upload is not whole")
        return self.send_json({})

    def commit(self, repository, revision):
        header, *operations = map(json.loads, self.body.splitlines())
        assert header["key"] == "header"
        if header["value"].get("parentCommit", repository.head) != repository.head:
            return self.refuse(412, "", "A commit has happened since. Please refresh and try again")
        files = dict(repository.files)
        for operation in operations:
            value = operation["value"]
            match operation["key"]:
                case "file":
                    files[value["path"]] = base64.b64decode(value["content"])
                case "lfsFile" if value["oid"] in self.hub.stored:
                    files[value["path"]] = self.hub.stored[value["oid"]]
                case "deletedFile":
                    del files[value["path"]]
                case _:
                    return self.refuse(400, "", f"the operation {operation} cannot be done")
        oid = repository.commit(header["value"]["summary"], files)
        url = f"{self.hub.endpoint}/datasets/{self.repo_id}/commit/{oid}"
        return self.send_json({"commitUrl": url, "commitOid": oid, "pullRequestUrl": None})

    def resolve(self, repository, revision, path):
        oid, files = repository.at(revision)
        headers = {"X_Repo_Commit": oid}
        if path not in files:
            return self.refuse(404, "EntryNotFound", "Entry not found")
        content, etag = files[path], _oid(files[path], path.endswith(LARGE))
        if not path.endswith(LARGE):
            return self.send(content, ETag=f'"{etag}"', **headers)
        self.hub.stored[etag] = content
        return self.send(
            status=302,
            Location=f"{self.hub.storage}/file/{etag}",
            X_Linked_Etag=f'"{etag}"',
            X_Linked_Size=str(len(content)),
            **headers,
        )


class Storage(Handler):
    """Where large files are; the Hub's token must not come here."""

    def answer(self):
        if "Authorization" in self.headers:
            return self.refuse(400, "", "a token of the Hub was sent to its storage")
        _, kind, oid = self.path.split("/")
        if self.command == "PUT" and kind == "upload":
            if _oid(self.body, large=True) != oid:
                return self.refuse(400, "", "the content is another one")
            self.hub.stored[oid] = self.body
            return self.send()
        if self.command == "GET" and kind == "file" and oid in self.hub.stored:
            content, start = self.hub.stored[oid], self.headers.get("Range")
            if start is None:
                return self.send(content)
            k = int(start.removeprefix("bytes=").removesuffix("-"))
            there = f"bytes {k}-{len(content) - 1}/{len(content)}"
            return self.send(content[k:], 206, Content_Range=there)
        return self.refuse(404, "", "nothing is stored here")


def _oid(content, large):
    """Return the name of a content: that of Git LFS, or of Git."""
    if large:
        return hashlib.sha256(content).hexdigest()
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
