"""Transforms template.yaml as AWS does, by SAM's own translator, and prints the CloudFormation template: cfn-lint alone
overlooks a reference to nothing inside a SAM resource. infra/check.sh runs this."""

import json
import os
import sys

from cfnlint.decode import cfn_yaml
from samtranslator.translator.transform import transform


class ManagedPolicies:
    """Names of AWS's own policies, which SAM would ask IAM for; the template has none."""

    def load(self):
        return {}


os.environ.setdefault("AWS_DEFAULT_REGION", "eu-central-1")  # nothing is asked there
template = cfn_yaml.load(sys.argv[1])
for resource in template["Resources"].values():
    if "CodeUri" in resource["Properties"]:
        resource["Properties"]["CodeUri"] = {"Bucket": "uploaded", "Key": "by-sam-deploy"}  # where it leaves the binary
json.dump(transform(template, {}, ManagedPolicies()), sys.stdout, indent=2)
