"""Answers with the packages that the image has installed, by the modules that they bring:
a function of the planner's, run where nothing but the image has run."""

import sys

import imported

found = {}
for module, d in imported.distributions(d for d in sys.path if d.endswith("-packages")).items():
    found.setdefault((d["name"], d["version"]), []).append(module)


def handler(event, context):
    return [{"name": name, "version": version, "modules": modules} for (name, version), modules in found.items()]
