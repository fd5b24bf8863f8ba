//! The direction of dependencies: `design/architecture.md` tells it, this holds it.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::Context;
use cargo_metadata::DependencyKind;
use cargo_metadata::Metadata;
use cargo_metadata::MetadataCommand;
use libtest_mimic::Trial;

use crate::need::Need;
use crate::need::story;

/// Each package, its folder, and what it may depend on inside the workspace.
const ALLOWED: &[(&str, &str, &[&str])] = &[
    ("posted-irq", "posted-irq", &[]),
    ("irqbroker-core", "broker/core", &[]),
    ("irqbroker-protocol", "broker/protocol", &[]),
    ("irqbroker-vfio-abi", "producers/vfio/abi", &[]),
    (
        "irqbroker-vfio-user",
        "producers/vfio/user",
        &["irqbroker-vfio-abi"],
    ),
    (
        "irqbroker-vfio",
        "producers/vfio",
        &[
            "irqbroker-core",
            "irqbroker-vfio-abi",
            "irqbroker-vfio-user",
        ],
    ),
    (
        "irqbroker-kvm",
        "consumers/kvm",
        &["irqbroker-core", "posted-irq"],
    ),
    (
        "irqbroker-guest",
        "consumers/kvm/guest",
        &["irqbroker-core", "irqbroker-kvm", "posted-irq"],
    ),
    (
        "irqbroker-display",
        "consumers/display",
        &["irqbroker-core", "irqbroker-vfio-abi"],
    ),
    (
        "irqbroker-vgpu",
        "vgpu",
        &["irqbroker-core", "irqbroker-vfio-abi"],
    ),
    (
        "irqbroker",
        "broker",
        &[
            "irqbroker-core",
            "irqbroker-kvm",
            "irqbroker-protocol",
            "irqbroker-vfio",
            "irqbroker-vfio-abi",
            "irqbroker-vfio-user",
            "irqbroker-vgpu",
            "posted-irq",
        ],
    ),
    (
        "irqbroker-daemon",
        "broker/daemon",
        &[
            "irqbroker",
            "irqbroker-display",
            "irqbroker-guest",
            "irqbroker-protocol",
            "irqbroker-vfio",
            "irqbroker-vfio-user",
            "irqbroker-vgpu",
        ],
    ),
];

/// What a library must not make its embedder take: an error type of no shape, and threads or an
/// executor behind its back.
const NOT_IN_LIBRARIES: &[&str] = &["anyhow", "async-std", "smol", "tokio"];

pub(crate) fn stories() -> Vec<Trial> {
    vec![
        story(
            "every_dependency_inside_the_workspace_is_in_the_table",
            Need::Nothing,
            check,
        ),
        story(
            "invariant_10_no_library_depends_on_anyhow_or_an_async_runtime",
            Need::Nothing,
            libraries,
        ),
        story(
            "page_on_the_architecture_tells_what_each_package_needs",
            Need::Nothing,
            page,
        ),
        story(
            "no_dependency_needs_a_newer_compiler_than_its_dependent_promises",
            Need::Nothing,
            compilers,
        ),
    ]
}

/// What a package is built of, by what is said in `rust-version`.
fn compilers() -> anyhow::Result<()> {
    let metadata = MetadataCommand::new()
        .other_options([
            "--offline".into(),
            // Packages of other systems need not be here.
            "--filter-platform".into(),
            "x86_64-unknown-linux-gnu".into(),
        ])
        .exec()?;
    let resolve = metadata.resolve.as_ref().context("nothing resolved")?;
    let mut looked_at = 0;
    let mut wrong = Vec::new();
    for package in metadata.workspace_packages() {
        let promised = package.rust_version.as_ref();
        let promised = promised.with_context(|| format!("{} promises none", package.name))?;
        let mut seen = BTreeSet::new();
        let mut left = vec![&package.id];
        while let Some(id) = left.pop() {
            let node = resolve.nodes.iter().find(|node| node.id == *id);
            let built = node.context("a package is not resolved")?.deps.iter();
            let built = built.filter(|dependency| {
                let mut kinds = dependency.dep_kinds.iter();
                kinds.any(|kind| kind.kind != DependencyKind::Development)
            });
            left.extend(
                built
                    .map(|dependency| &dependency.pkg)
                    .filter(|id| seen.insert(*id)),
            );
        }
        for needed in seen {
            let needed = &metadata[needed];
            looked_at += 1;
            if needed
                .rust_version
                .as_ref()
                .is_some_and(|version| version > promised)
            {
                wrong.push(format!("{} -> {}", package.name, needed.name));
            }
        }
    }
    anyhow::ensure!(looked_at > 0, "no dependency found: looks at nothing");
    anyhow::ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

fn libraries() -> anyhow::Result<()> {
    let metadata = workspace()?;
    let mut wrong = Vec::new();
    for package in metadata.workspace_packages() {
        if !package.targets.iter().any(|target| target.is_lib()) {
            continue;
        }
        for dependency in &package.dependencies {
            let name = dependency.name.as_str();
            if dependency.kind == DependencyKind::Normal && NOT_IN_LIBRARIES.contains(&name) {
                wrong.push(format!("{} -> {name}", package.name));
            }
        }
    }
    anyhow::ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

/// A row of the page is `folder`, `package`, what it needs, and what lives there.
fn page() -> anyhow::Result<()> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("design/architecture.md");
    let text = fs::read_to_string(path)?;
    let told: BTreeMap<&str, BTreeSet<&str>> = text
        .lines()
        .filter_map(|line| match line.split('|').collect::<Vec<_>>()[..] {
            ["", _, package, needs, _, ""] => {
                let (package, needs) = (quoted(package).next()?, quoted(needs).collect());
                Some((package, needs))
            }
            _ => None,
        })
        .collect();
    let metadata = workspace()?;
    let members = members(&metadata);
    let mut wrong = Vec::new();
    for package in metadata.workspace_packages() {
        let needs: BTreeSet<&str> = package
            .dependencies
            .iter()
            .filter(|dependency| dependency.kind == DependencyKind::Normal)
            .map(|dependency| dependency.name.as_str())
            .filter(|name| members.contains(name))
            .collect();
        if told.get(package.name.as_str()) != Some(&needs) {
            wrong.push(format!("{} needs {needs:?}", package.name));
        }
    }
    anyhow::ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    anyhow::ensure!(
        told.len() == members.len(),
        "a package is told of that is not there"
    );
    Ok(())
}

/// The packages here, without what they depend on.
fn workspace() -> anyhow::Result<Metadata> {
    let mut command = MetadataCommand::new();
    Ok(command
        .no_deps()
        .other_options(["--offline".into()])
        .exec()?)
}

/// Their names.
fn members(metadata: &Metadata) -> BTreeSet<&str> {
    let packages = metadata.workspace_packages();
    packages
        .into_iter()
        .map(|package| package.name.as_str())
        .collect()
}

/// What stands between back-quotes.
fn quoted(cell: &str) -> impl Iterator<Item = &str> {
    cell.split('`').skip(1).step_by(2)
}

fn check() -> anyhow::Result<()> {
    let metadata = workspace()?;
    let members = members(&metadata);
    let allowed: BTreeMap<&str, (&str, BTreeSet<&str>)> = ALLOWED
        .iter()
        .map(|(name, folder, edges)| (*name, (*folder, edges.iter().copied().collect())))
        .collect();
    let mut wrong = Vec::new();
    for package in metadata.workspace_packages() {
        // The stories see everything.
        if package.name.as_str() == "irqbroker-suite" {
            continue;
        }
        let (folder, edges) = allowed
            .get(package.name.as_str())
            .with_context(|| format!("{} is not in the table", package.name))?;
        let manifest = metadata.workspace_root.join(folder).join("Cargo.toml");
        if package.manifest_path != manifest {
            wrong.push(format!(
                "{} lies in {}",
                package.name, package.manifest_path
            ));
        }
        for dependency in &package.dependencies {
            let name = dependency.name.as_str();
            // A dev-dependency on oneself turns on a feature for the own tests.
            let own =
                name == package.name.as_str() && dependency.kind == DependencyKind::Development;
            if members.contains(name) && !own && !edges.contains(name) {
                wrong.push(format!("{} -> {name} ({})", package.name, dependency.kind));
            }
        }
    }
    anyhow::ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    let missing: Vec<_> = allowed
        .keys()
        .filter(|name| !members.contains(*name))
        .collect();
    anyhow::ensure!(missing.is_empty(), "no such package: {missing:?}");
    Ok(())
}
