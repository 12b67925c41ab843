"""OpenStack Swift with its S3 interface, as a second, independent S3 server: it checks signatures,
part rules and part checksums.

    python tests/support/swift_server.py FOLDER     with the Python of an environment that has swift

Sets up a cluster of one device in FOLDER, prints its URL and serves S3 there until standard input
ends; the key is ``test:tester``, the secret ``testing``.
"""

from __future__ import annotations

import os
import pwd
import random
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from swift.common.ring import RingBuilder

PROXY = """
[DEFAULT]
bind_ip = 127.0.0.1
bind_port = {port}
swift_dir = {folder}
workers = 2
log_address = /dev/null
user = {user}
max_clients = 1024

[pipeline:main]
pipeline = catch_errors gatekeeper cache listing_formats s3api tempauth slo dlo proxy-server

[app:proxy-server]
use = egg:swift#proxy
allow_account_management = true
account_autocreate = true
node_timeout = 60
conn_timeout = 5

[filter:catch_errors]
use = egg:swift#catch_errors
[filter:gatekeeper]
use = egg:swift#gatekeeper
[filter:listing_formats]
use = egg:swift#listing_formats
[filter:cache]
use = egg:swift#memcache
memcache_servers = 127.0.0.1:1
error_suppression_limit = 0
[filter:s3api]
use = egg:swift#s3api
location = us-east-1
[filter:tempauth]
use = egg:swift#tempauth
user_test_tester = testing .admin
[filter:slo]
use = egg:swift#slo
[filter:dlo]
use = egg:swift#dlo
"""

STORAGE = """
[DEFAULT]
bind_ip = 127.0.0.1
bind_port = {port}
swift_dir = {folder}
devices = {folder}/devices
mount_check = false
workers = 1
disable_fallocate = true
log_address = /dev/null
user = {user}

[pipeline:main]
pipeline = {kind}-server

[app:{kind}-server]
use = egg:swift#{kind}
"""


def free_ports(count: int) -> int:
    """The first of so many ports in a row that nobody listens at."""
    while True:
        first = random.randrange(20_000, 32_000)
        try:
            for port in range(first, first + count):
                socket.create_server(("127.0.0.1", port)).close()
        except OSError:
            continue
        return first


def await_port(port: int) -> None:
    for _ in range(600):
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.1)
    raise SystemExit(f"nobody answers at {port}")


def main() -> None:
    folder, port = Path(sys.argv[1]), free_ports(4)
    user = pwd.getpwuid(os.getuid()).pw_name
    tools = Path(sys.executable).parent
    (folder / "devices" / "d1").mkdir(parents=True)
    (folder / "swift.conf").write_text(
        "[swift-hash]\nswift_hash_path_suffix = s\nswift_hash_path_prefix = p\n"
        "[storage-policy:0]\nname = only\ndefault = yes\n"
    )
    (folder / "proxy.conf").write_text(PROXY.format(folder=folder, port=port, user=user))
    environment = os.environ | {"SWIFT_CONF_FILE": str(folder / "swift.conf")}
    commands = [[tools / "swift-proxy-server", folder / "proxy.conf"]]
    for offset, kind in enumerate(("account", "container", "object"), 1):
        text = STORAGE.format(folder=folder, port=port + offset, kind=kind, user=user)
        (folder / f"{kind}.conf").write_text(text)
        commands.insert(0, [tools / f"swift-{kind}-server", folder / f"{kind}.conf"])
        ring = RingBuilder(part_power=4, replicas=1, min_part_hours=0)
        ring.add_dev({
            "region": 1, "zone": 1, "ip": "127.0.0.1", "port": port + offset, "device": "d1",
            "weight": 1.0,
        })  # fmt: skip
        ring.rebalance()
        ring.get_ring().save(str(folder / f"{kind}.ring.gz"))
    servers = [
        subprocess.Popen([sys.executable, *command], env=environment, start_new_session=True)
        for command in commands
    ]
    try:
        for number in range(port, port + 4):
            await_port(number)
        print(f"http://127.0.0.1:{port}", flush=True)
        sys.stdin.read()
    finally:
        for server in servers:
            os.killpg(server.pid, signal.SIGKILL)


if __name__ == "__main__":
    main()
