"""Code that runs in the live interpreter of an instance, one piece after the other, as
at a prompt: what one defines the next ones see. The last statement, if it is an
expression, is the result."""

import json
import linecache
import sys
import types

import __main__ as driver_main

_ONLY_AST = 0x400  # ast.PyCF_ONLY_AST; the module ast itself would take pages
_REPR_LIMIT = 64 << 10  # characters
_count = 0
_driver_module = sys.modules["__main__"]


def _namespace(driver):
    """A function's own module, where there is one; else a __main__ of the code's own."""
    handler = driver.handler
    module = sys.modules.get(getattr(handler, "__module__", None))
    if module is not None and module is not _driver_module:
        return module.__dict__
    if sys.modules["__main__"] is _driver_module:
        sys.modules["__main__"] = types.ModuleType("__main__")
    return sys.modules["__main__"].__dict__


def _run(code, namespace):
    global _count
    _count += 1
    name = f"<exec {_count}>"
    linecache.cache[name] = (len(code), None, code.splitlines(True), name)
    linecache.cache.pop(f"<exec {_count - 100}>", None)
    tree = compile(code, name, "exec", _ONLY_AST, dont_inherit=True)
    last = tree.body[-1] if tree.body else None
    if type(last).__name__ != "Expr":
        exec(compile(tree, name, "exec", dont_inherit=True), namespace)
        return None
    import _ast

    tree.body.pop()
    exec(compile(tree, name, "exec", dont_inherit=True), namespace)
    return eval(compile(_ast.Expression(last.value), name, "eval", dont_inherit=True), namespace)


def _keyed(value):
    """Whether all keys in value are texts: as JSON others would be, and two might be one."""
    if isinstance(value, dict):
        return all(isinstance(key, str) for key in value) and all(map(_keyed, value.values()))
    return not isinstance(value, (list, tuple)) or all(map(_keyed, value))


def _document(value):
    if value is None:
        return b'{"value":null}'
    text = repr(value)
    if len(text) > _REPR_LIMIT:
        text = f"{text[:_REPR_LIMIT]} [{len(text) - _REPR_LIMIT} characters were cut]"
    document = json.dumps({"repr": text.encode("utf-8", "backslashreplace").decode()}).encode()
    try:
        if not _keyed(value):
            return document
        body = json.dumps(value, allow_nan=False).encode()
    except (TypeError, ValueError, RecursionError):
        return document
    if len(body) + len(document) > driver_main.p.RESULT_BYTES - 64:
        return document
    return b'{"value":' + body + b"," + document[1:]


def run(driver, code):
    """Returns the type and the payload of the answer."""
    main = driver_main
    try:
        return main.p.MSG_RESULT, _document(_run(code, _namespace(driver)))
    except BaseException as e:
        kind = "Runtime.ExitError" if isinstance(e, SystemExit) else None
        traceback = e.__traceback__
        while traceback is not None and traceback.tb_frame.f_code.co_filename == __file__:
            traceback = traceback.tb_next
        return main.p.MSG_ERROR, main.error_document(e.with_traceback(traceback), kind)
