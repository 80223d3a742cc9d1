"""Holds the parameters of a call against a script's own param block, as PowerShell's binder does.

It reads no script text: what it needs stands in `exremote.script.Parameter`. It never lets a wrong call
through.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from exremote.lab.wsman.engine import ErrorRecord, ScriptThrew
from exremote.script import Parameter

_COMMON = frozenset(
    {
        "verbose",
        "debug",
        "erroraction",
        "warningaction",
        "errorvariable",
        "warningvariable",
        "outvariable",
        "outbuffer",
        "whatif",
        "confirm",
    }
)
_TRUE = (True, "true", "$true", 1)


class Arguments:
    """The bound parameters of one call, with the defaults of their types where the call says nothing."""

    def __init__(self, values: Mapping[str, object]) -> None:
        self._values = values

    def given(self, name: str) -> bool:
        """Return whether the call names this parameter."""
        return name in self._values

    def text(self, name: str) -> str:
        """Return a parameter that is one text."""
        return str(self._values.get(name, ""))

    def texts(self, name: str) -> list[str]:
        """Return a parameter that is a list of texts."""
        value = self._values.get(name, [])
        return [str(item) for item in value] if isinstance(value, list) else []

    def number(self, name: str, default: int = 0) -> int:
        """Return a parameter that is a whole number."""
        value = self._values.get(name, default)
        return value if isinstance(value, int) else default

    def flag(self, name: str) -> bool:
        """Return a switch."""
        return self._values.get(name) is True


def _refusal(error_id: str, message: str, category: str = "InvalidArgument", target: str = "") -> ScriptThrew:
    return ScriptThrew(ErrorRecord(error_id, message, target, category))


def _find(name: str, parameters: Sequence[Parameter]) -> Parameter | None:
    """Return the parameter of that name, or the only one that begins so; None for a common one.

    Raise ScriptThrew.
    """
    wanted = name.lstrip("-").lower()
    for parameter in parameters:
        if parameter.name.lower() == wanted:
            return parameter
    near = [parameter for parameter in parameters if parameter.name.lower().startswith(wanted)]
    if len(near) == 1 and wanted:
        return near[0]
    if wanted in _COMMON:
        return None
    if len(near) > 1:
        raise _refusal(
            "AmbiguousParameter",
            f"Parameter cannot be processed because the parameter name '{name}' is ambiguous.",
        )
    raise _refusal(
        "NamedParameterNotFound", f"A parameter cannot be found that matches parameter name '{name}'."
    )


def _one(value: object, kind: str) -> object:
    """Return one value as PowerShell converts it to a type. Raise ValueError if it does not."""
    match kind:
        case "string" | "securestring":
            if value is None:
                return ""
            if isinstance(value, bool):
                return str(value)
            if isinstance(value, list):
                return " ".join(str(item) for item in value)
            return str(value)
        case "int" | "long":
            if value is None or isinstance(value, bool):
                return int(bool(value))
            if isinstance(value, str | int | float):
                number = int(value)
                limit = 2**31 if kind == "int" else 2**63
                if -limit <= number < limit:
                    return number
            raise ValueError(value)
        case "switch" | "bool":
            if isinstance(value, str) and kind == "switch":
                raise ValueError(value)
            return value in _TRUE or (isinstance(value, int) and value != 0)
        case "byte[]":
            if isinstance(value, bytes):
                return value
            raise ValueError(value)
    return value


def _converted(value: object, parameter: Parameter) -> object:
    kind = parameter.type.lower()
    kind = {"int32": "int", "int64": "long", "switchparameter": "switch", "boolean": "bool"}.get(kind, kind)
    kind = kind.rpartition(".")[2]
    try:
        if kind.endswith("[]") and kind != "byte[]":
            items = value if isinstance(value, list | tuple) else [] if value is None else [value]
            return [_one(item, kind[:-2]) for item in items]
        return _one(value, kind)
    except (ValueError, TypeError, OverflowError) as error:
        raise _refusal(
            "ParameterArgumentTransformationError",
            f"Cannot process argument transformation on parameter '{parameter.name}'. "
            f'Cannot convert value "{value}" to type "{parameter.type}".',
            "InvalidData",
        ) from error


def _checked(value: object, parameter: Parameter) -> object:
    if parameter.mandatory:
        if value == "" or (isinstance(value, list) and "" in value):
            raise _refusal(
                "ParameterArgumentValidationErrorEmptyStringNotAllowed",
                f"Cannot bind argument to parameter '{parameter.name}' because it is an empty string.",
                "InvalidData",
            )
        if value == []:
            raise _refusal(
                "ParameterArgumentValidationErrorEmptyArrayNotAllowed",
                f"Cannot bind argument to parameter '{parameter.name}' because it is an empty array.",
                "InvalidData",
            )
    if parameter.values:
        allowed = {item.lower() for item in parameter.values}
        for item in value if isinstance(value, list) else [value]:
            if str(item).lower() not in allowed:
                raise _refusal(
                    "ParameterArgumentValidationError",
                    f"Cannot validate argument on parameter '{parameter.name}'. "
                    f'The argument "{item}" does not belong '
                    f'to the set "{",".join(parameter.values)}".',
                    "InvalidData",
                )
    return value


def bind(given: Mapping[str, object], parameters: Sequence[Parameter]) -> Arguments:
    """Given what a call says, bind it.

    Return the arguments. Raise ScriptThrew with PowerShell's own error id.
    """
    values: dict[str, object] = {}
    positional: list[object] = []
    for name, value in given.items():
        if name.isdigit():
            positional.append(value)
            continue
        parameter = _find(name, parameters)
        if parameter is None:
            continue
        if parameter.name in values:
            raise _refusal(
                "ParameterAlreadyBound",
                f"Cannot bind parameter because parameter '{parameter.name}' is specified more than once.",
            )
        values[parameter.name] = _checked(_converted(value, parameter), parameter)
    rest = [
        parameter
        for parameter in parameters
        if parameter.name not in values and parameter.type.lower() != "switch"
    ]
    for value, parameter in zip(positional, rest, strict=False):
        values[parameter.name] = _checked(_converted(value, parameter), parameter)
    if len(positional) > len(rest):
        raise _refusal(
            "PositionalParameterNotFound",
            f"A positional parameter cannot be found that accepts argument '{positional[len(rest)]}'.",
        )
    missing = [
        parameter.name for parameter in parameters if parameter.mandatory and parameter.name not in values
    ]
    if missing:
        names = " ".join(missing)
        raise _refusal(
            "MissingMandatoryParameter",
            f"Cannot process command because of one or more missing mandatory parameters: {names}.",
        )
    return Arguments(values)
