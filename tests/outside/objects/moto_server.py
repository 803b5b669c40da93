"""S3 for tests: moto as a server, and what is asked of it.

serve PORT          serves until it is killed; prints the port, a free one for 0
create URL          makes the bucket
list URL            prints its keys
read URL PATH       prints how many rows of each table lie below a path, read by pyarrow
"""

import json
import sys

BUCKET = "acme-probes"
KEYS = {"region_name": "eu-central-1", "aws_access_key_id": "x", "aws_secret_access_key": "x"}


def serve(port):
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import make_server

    application = DomainDispatcherApplication(create_backend_app)
    server = make_server("127.0.0.1", int(port), application, threaded=True)
    print(server.server_port, flush=True)
    server.serve_forever()


def client(url):
    import boto3

    return boto3.client("s3", endpoint_url=url, **KEYS)


def create(url):
    client(url).create_bucket(
        Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": "eu-central-1"}
    )
    return None


def list_keys(url):
    pages = client(url).get_paginator("list_objects_v2").paginate(Bucket=BUCKET)
    return [entry["Key"] for page in pages for entry in page.get("Contents", [])]


def read(url, path):
    import pyarrow.dataset
    import pyarrow.fs

    store = pyarrow.fs.S3FileSystem(
        endpoint_override=url, region="eu-central-1", access_key="x", secret_key="x"
    )
    answer = {}
    for table in ("probes", "checks"):
        rows = pyarrow.dataset.dataset(f"{path}/{table}", filesystem=store, format="parquet").to_table()
        rows.validate(full=True)
        keys = ["run_id", "seq"] + (["check_name"] if table == "checks" else [])
        assert rows.group_by(keys).aggregate([]).num_rows == rows.num_rows, "doubled rows"
        answer[table] = rows.num_rows
    return answer


if __name__ == "__main__":
    what, *arguments = sys.argv[1:]
    run = {"serve": serve, "create": create, "list": list_keys, "read": read}[what]
    json.dump(run(*[argument for argument in arguments if argument]), sys.stdout)
