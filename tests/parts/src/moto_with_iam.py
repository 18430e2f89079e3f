"""moto's server, checking every request to S3 against the policies of whoever signed it, more nearly as AWS does.

moto of itself knows neither `s3:prefix` nor the source of a copy, asks for a deletion of many objects about the bucket
instead of the objects, and calls some actions by other names than IAM. Facts: Amazon S3 user guide, "Actions, resources, and
condition keys for Amazon S3"; whoever may not list a key is told 403 where it is missing, `s3:prefix` being the key.
"""

import re
import sys
import threading
from urllib.parse import unquote

import xmltodict
from flask import request
from moto.iam import access_control as iam
from moto.s3 import responses

BUCKET = {
    "uploads": ("ListBucketMultipartUploads", None),
    "location": ("GetBucketLocation", None),
    "lifecycle": ("GetLifecycleConfiguration", "PutLifecycleConfiguration"),
    "versioning": ("GetBucketVersioning", "PutBucketVersioning"),
    "policy": ("GetBucketPolicy", "PutBucketPolicy"),
    "encryption": ("GetEncryptionConfiguration", "PutEncryptionConfiguration"),
    "publicAccessBlock": ("GetBucketPublicAccessBlock", "PutBucketPublicAccessBlock"),
    "object-lock": ("GetBucketObjectLockConfiguration", "PutBucketObjectLockConfiguration"),
}
ASKED = threading.local()


def set_action(self, kind, method, query):
    """The action in IAM's words."""
    if kind == "BUCKET":
        action = "CreateBucket" if method == "PUT" else "ListBucket"
        for word, (reads, writes) in BUCKET.items():
            if word in query:
                action = writes if method == "PUT" else reads
    elif method in ("HEAD", "GET"):
        action = "GetObject"
    elif method == "DELETE":
        action = "AbortMultipartUpload" if "uploadId" in query else "DeleteObject"
    else:
        action = "RestoreObject" if "restore" in query else "PutObject"
    self.data["Action"] = action


def matches(pattern, text):
    parts = [".*" if c == "*" else "." if c == "?" else re.escape(c) for c in pattern]
    return re.fullmatch("".join(parts), text, re.S) is not None


def conditions_hold(statement):
    for operator, keys in statement.get("Condition", {}).items():
        for key, patterns in keys.items():
            if (operator, key) != ("StringLike", "s3:prefix"):
                raise ValueError(f"no test knows the condition {operator} {key}")
            prefix = getattr(ASKED, "prefix", None)
            prefix = request.args.get("prefix") if prefix is None else prefix
            if prefix is None or not any(matches(pattern, prefix) for pattern in patterns):
                return False
    return True


def is_permitted(self, action, resource="*", principal=None, incoming_condition_values=None):
    statement = self._statement
    listed = lambda key: [statement[key]] if isinstance(statement[key], str) else statement[key]
    concerned = (
        any(matches(pattern, action) for pattern in listed("Action"))
        and any(matches(pattern, resource) for pattern in listed("Resource"))
        and conditions_hold(statement)
    )
    if not concerned:
        return iam.PermissionResult.NEUTRAL
    allowed = statement["Effect"] == "Allow"
    return iam.PermissionResult.PERMITTED if allowed else iam.PermissionResult.DENIED


ask = responses.S3Response._authenticate_and_authorize_s3_action


def ask_for(self, action, bucket, key=None, prefix=None):
    self.data["Action"], ASKED.prefix = action, prefix
    try:
        ask(self, bucket_name=bucket, key_name=key)
    finally:
        ASKED.prefix = None


def authorize(self, bucket_name=None, key_name=None):
    action = self.data["Action"]
    if action == "DeleteObject" and key_name is None:
        objects = xmltodict.parse(self.body, strip_whitespace=False)["Delete"]["Object"]
        for thing in objects if isinstance(objects, list) else [objects]:
            ask_for(self, action, bucket_name, thing["Key"])
        return
    ask_for(self, action, bucket_name, key_name)
    source = self.headers.get("x-amz-copy-source")
    if source and key_name:
        bucket, key = unquote(source).lstrip("/").split("/", 1)
        ask_for(self, "GetObject", bucket, key)
    if action == "GetObject" and not self.backend.get_object(bucket_name, key_name):
        ask_for(self, "ListBucket", bucket_name, prefix=key_name)
    self.data["Action"] = action


responses.S3Response._set_action = set_action
responses.S3Response._get_action = lambda self: self.data["Action"]
responses.S3Response._authenticate_and_authorize_s3_action = authorize
iam.IAMPolicyStatement.is_action_permitted = is_permitted
# It takes queries with escapes for others than were signed; the other stores of the tests look at signatures.
iam.S3IAMRequest.check_signature = lambda self: None

if __name__ == "__main__":
    from moto.server import main

    main(sys.argv[1:])
