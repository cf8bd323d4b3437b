"""The conformance kit: what every adapter promises, tried at a provider's end that really answers.

`catalogue` lists the cases, `runner` runs them, `matrix` tells what came of it. A case sees an
adapter, the `tap` on its line, and, where the end is a sandbox, the sandbox's books and controls.
"""
