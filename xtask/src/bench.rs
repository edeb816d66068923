//! Placeholder.
/// Options.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}
/// Runs.
pub(crate) fn run(_: Args) -> anyhow::Result<()> { anyhow::bail!("later") }
