"""What the authors' path needs: the tools of the four languages, a small shop, and the program itself."""

import functools
import http.server
import os
import pathlib
import resource
import shutil
import subprocess
import sys
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples/write-a-check"
# The word that `plugin new` takes, and the folder of the example.
LANGUAGES = {"rust": "rust", "c": "c", "js": "javascript", "python": "python"}


def install(folder):
    """Brings the tools that the templates name, with their versions, and gives an environment that finds them."""
    folder = folder.resolve()
    venv, node = folder / "venv", folder / "node"
    templates = ROOT / "plugins/templates"
    if not (venv / "bin/pip").exists():
        run([sys.executable, "-m", "venv", venv])
    pip = [venv / "bin/pip", "install", "--quiet", "--disable-pip-version-check"]
    run([*pip, "-r", templates / "c/requirements.txt", "-r", templates / "python/requirements.txt"])
    node.mkdir(parents=True, exist_ok=True)
    shutil.copy(templates / "js/package.json", node / "package.json")
    run(["npm", "install", "--silent", "--no-audit", "--no-fund"], cwd=node)
    path = [venv / "bin", node / "node_modules/.bin", os.environ["PATH"]]
    caches = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache")
    return {
        # Debian's compiler stays where it is: it is dear to fetch.
        "PROBITY_WASM_CACHE": str(caches / "probity-wasm"),
        **os.environ,
        "PATH": os.pathsep.join(map(str, path)),
        # Plugins that were compiled before are not those that are measured and tested.
        "XDG_CACHE_HOME": str(folder / "cache"),
    }


def run(command, cwd=None, env=None, code=0):
    """Runs a command to its end; its output is shown where it ends in another way than it should."""
    command = [str(part) for part in command]
    done = subprocess.run(command, cwd=cwd, env=env, text=True, capture_output=True)
    if done.returncode != code:
        sys.exit(f"{' '.join(command)}: exit code {done.returncode}, not {code}\n{done.stdout}\n{done.stderr}")
    return done


class Timed:
    """Wall time and CPU time of all that was run inside."""

    def __enter__(self):
        self.began, self.cpu_before = time.monotonic(), children_cpu()
        return self

    def __exit__(self, *_):
        self.wall, self.cpu = time.monotonic() - self.began, children_cpu() - self.cpu_before

    def __str__(self):
        return f"{self.wall:.1f} s, {self.cpu:.1f} s of CPU"


def children_cpu():
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


class Shop:
    """The pages of a folder, on a port of this machine."""

    def __init__(self, folder):
        handler = functools.partial(Silent, directory=str(folder))
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def origin(self):
        return f"http://127.0.0.1:{self.server.server_port}"


class Silent(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass
