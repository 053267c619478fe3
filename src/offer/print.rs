//! An offer as a person reads it.

use std::io;

use super::{HeldTool, Loss, Offer, Tool};
use crate::human::table::{self, Cut};
use crate::human::{Plain, count};

/// All entries, one after the other; no table is wider than `width`.
///
/// # Errors
/// Where `out` takes no more.
pub fn print(out: &mut impl io::Write, offers: &[Offer], width: Option<usize>) -> io::Result<()> {
    for (n, offer) in offers.iter().enumerate() {
        if n > 0 {
            writeln!(out)?;
        }
        one(out, offer, width)?;
    }
    legend(out, offers)
}

fn one(out: &mut impl io::Write, offer: &Offer, width: Option<usize>) -> io::Result<()> {
    let servers = offer.servers.join(", ");
    match &offer.entry {
        Some(entry) if *entry != servers => writeln!(out, "{servers} (the client calls it `{entry}`)")?,
        _ => writeln!(out, "{servers}")?,
    }
    if !offer.tools.is_empty() {
        let titles = ["TOOL", "NAME", "DESCRIPTION", "SCHEMA", "TOKENS", "LOSS"];
        let rows: Vec<_> =
            std::iter::once(titles.map(str::to_owned)).chain(offer.tools.iter().map(row)).collect();
        table::write(out, &rows, [Cut::Never; 6], width)?;
    }
    if offer.unknown.len() < offer.servers.len() {
        writeln!(
            out,
            "{} of about {} tokens; {}, {}, {}",
            count(offer.tools.len(), "tool"),
            offer.tokens,
            count(offer.prompts.len(), "prompt"),
            count(offer.resources, "resource"),
            count(offer.templates, "template")
        )?;
    }
    for loss in &offer.losses {
        writeln!(out, "{}", loss.why())?;
    }
    if !offer.forbidden.is_empty() {
        writeln!(out, "{} kept back by `tools` and `deny_tools`", count(offer.forbidden.len(), "tool"))?;
    }
    for left in &offer.left_out {
        writeln!(out, "`{}` of `{}` is left out: {}", Plain(&left.name), left.server, Plain(&left.why))?;
    }
    for line in offer.held.iter().flat_map(HeldTool::lines) {
        writeln!(out, "{line}")?;
    }
    for server in &offer.unknown {
        writeln!(out, "`{server}` has told nothing yet; type `berth catalogue --refresh {server}`")?;
    }
    Ok(())
}

fn row(tool: &Tool) -> [String; 6] {
    let losses = tool.losses.iter().map(|loss| format!("{}: {}", loss.client(), loss.what()));
    [
        Plain(&tool.full_name).to_string(),
        tool.length.to_string(),
        tool.description.to_string(),
        tool.schema.to_string(),
        tool.tokens.to_string(),
        losses.collect::<Vec<_>>().join(", "),
    ]
}

/// What the columns and the words in them mean.
fn legend(out: &mut impl io::Write, offers: &[Offer]) -> io::Result<()> {
    let tools = || offers.iter().flat_map(|offer| &offer.tools);
    if tools().next().is_none() {
        return Ok(());
    }
    writeln!(
        out,
        "\nNAME: characters of `mcp__ENTRY__TOOL`. DESCRIPTION: characters. SCHEMA: bytes. TOKENS: a quarter of all bytes, an \
         estimate."
    )?;
    for loss in Loss::ALL.into_iter().filter(|loss| tools().any(|tool| tool.losses.contains(loss))) {
        writeln!(out, "{}: {}.", loss.what(), loss.why())?;
    }
    Ok(())
}
