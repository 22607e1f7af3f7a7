"""Who may import whom. The table is docs/architecture.md, "Who may import whom"."""

from __future__ import annotations

from tests.architecture.source import Module, inside, loose_modules, modules

STAGES = ("eer.compiler.frontend", "eer.compiler.passes", "eer.compiler.backend")

SHARED_BY_STAGES = ("eer.compiler.options", "eer.compiler.cost")
"""Modules beside the stages that they may import: they import nothing of the compiler."""

IR_MAY_READ = ("eer.compiler.ir", "eer.runtime.errors", "eer.runtime.params", "eer.runtime.program")

COMPILER_LIBRARIES = {"torch", "onnx", "onnxruntime", "onnxscript", "scipy", "google"}

CKKS_LIBRARIES = {
    "tenseal": {"eer.runtime.engines.seal_library"},
    "desilofhe": {"eer.runtime.engines.desilo_library"},
}
"""Each library, and the only modules that may import it."""


def ours(module: Module) -> list[str]:
    """What a module imports of the project itself."""
    return [name for name in module.imports() if inside(name, "eer")]


def test_there_is_something_to_check() -> None:
    names = {m.name for m in modules()}
    assert {"eer.compiler.driver", "eer.runtime.client", "eer.compiler.ir.tensor"} <= names
    driver = next(m for m in modules() if m.name == "eer.compiler.driver")
    assert {"eer.compiler.backend.assemble", "eer.runtime.errors"} <= set(driver.imports())


def test_the_runtime_never_imports_the_compiler_or_its_libraries() -> None:
    for module in modules():
        if inside(module.name, "eer.runtime"):
            assert not [n for n in ours(module) if inside(n, "eer.compiler")], module.where
            assert not module.libraries() & COMPILER_LIBRARIES, module.where


def test_the_ir_imports_itself_and_the_runtimes_types_only() -> None:
    for module in modules():
        if inside(module.name, "eer.compiler.ir"):
            strangers = [
                n for n in ours(module) if not any(inside(n, allowed) for allowed in IR_MAY_READ)
            ]
            # `from eer.runtime import x` would name the package itself.
            assert not [n for n in strangers if n != "eer.compiler"], module.where


def test_stages_import_the_ir_and_never_each_other() -> None:
    for module in modules():
        stage = next((s for s in STAGES if inside(module.name, s)), None)
        if stage is None:
            continue
        allowed = (stage, "eer.compiler.ir", "eer.runtime", *SHARED_BY_STAGES)
        strangers = [
            n
            for n in ours(module)
            if n != "eer.compiler" and not any(inside(n, a) for a in allowed)
        ]
        assert not strangers, module.where


def test_what_the_stages_share_imports_nothing_of_the_compiler() -> None:
    for module in modules():
        if module.name in SHARED_BY_STAGES:
            assert not [n for n in ours(module) if inside(n, "eer.compiler")], module.where


def test_nothing_imports_the_command_lines() -> None:
    for module in modules():
        imported = set(ours(module))
        if not inside(module.name, "eer.compiler.cli"):
            assert not [n for n in imported if inside(n, "eer.compiler.cli")], module.where
        assert "eer.runtime.cli" not in imported, module.where


def test_each_ckks_library_is_imported_in_its_own_engine_only() -> None:
    importers = {
        library: {m.name for m in (*modules(), *loose_modules()) if library in m.libraries()}
        for library in CKKS_LIBRARIES
    }
    assert importers == CKKS_LIBRARIES


def test_nothing_imports_an_engine_but_the_registry() -> None:
    """Engines of CKKS libraries are opened by name, so that the libraries load only when used."""
    for module in modules():
        if not inside(module.name, "eer.runtime.engines"):
            opened = {"eer.runtime.engines.seal", "eer.runtime.engines.desilo"} & set(ours(module))
            assert not opened, module.where
