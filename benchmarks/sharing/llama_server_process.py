"""Run llama-server's code from the package xllamacpp, which has it as a library.

Runs in an environment of its own and imports nothing of this project.
"""

import sys
import threading

import xllamacpp  # type: ignore[import-not-found]


def main() -> None:
    model, port, slots, context, threads = sys.argv[1:]
    parameters = xllamacpp.CommonParams()
    parameters.model.path = model
    parameters.port = int(port)
    parameters.n_parallel = int(slots)
    parameters.n_ctx = int(slots) * int(context)
    parameters.cpuparams.n_threads = parameters.cpuparams_batch.n_threads = int(threads)
    parameters.embedding = True  # generates as well
    server = xllamacpp.Server(parameters)
    print(server.listening_address, flush=True)
    threading.Event().wait()


if __name__ == "__main__":
    main()
