"""Run as a program in the real client's environment: does what it reads, and says what came of it.

Its word is the URL of the server. Each line that it reads is a JSON list, an operation and its
arguments; for each it prints one line, a JSON value.
"""

import contextlib
import importlib
import json
import sys
from typing import Any


def main() -> None:
    library: Any = importlib.import_module("filetracker.client")
    client = library.Client(local_store=None, remote_url=sys.argv[1])
    answers, sys.stdout = sys.stdout, sys.stderr  # the client prints which protocol it speaks
    for line in sys.stdin:
        operation, *arguments = json.loads(line)
        done: Any = None
        try:
            done = run(client, operation, arguments)
        except library.FiletrackerError as error:
            done = {"error": str(error)}
        answers.write(json.dumps(done) + "\n")
        answers.flush()


def run(client: Any, operation: str, arguments: list[Any]) -> Any:  # noqa: ANN401 - untyped library
    if operation == "get_stream":
        stream, name = client.get_stream(*arguments)
        return [stream.read(None).decode(), name]
    if operation == "exists":
        return client.remote_store.exists(*arguments)
    if operation == "put_file":
        name, path, *hint = arguments
        return client.put_file(name, path, to_local_store=False, compress_hint=not hint)
    return getattr(client, operation)(*arguments)


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        main()
