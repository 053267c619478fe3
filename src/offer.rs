//! What a client is offered by one of its entries, and what its limits take away of that.
//!
//! Judges what servers told before: it starts nothing, and asks nobody. The names are those that a session gives.

mod held;
mod loss;
mod print;

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

pub use held::HeldTool;
pub use loss::Loss;
pub use print::print;

use crate::catalogue::{Held, Hello, List, Told};
use crate::config::{Profile, Server};
use crate::rpc::raw::{self, Raw};
use crate::values::full_name::{full_name, room};
use crate::values::permits;

/// A server of the entry.
#[derive(Debug)]
pub struct Member<'a> {
    pub server: &'a Server,
    /// `None`: it has told nothing yet.
    pub told: Option<Told>,
    /// What a person has not accepted of it.
    pub held: Vec<Held>,
}

/// An entry of a client's.
#[derive(Debug)]
pub struct Asked<'a> {
    /// What the client calls it, where that is known.
    pub entry: Option<&'a str>,
    /// The profile that it runs; `None`: a single server, whose names stay as they are.
    pub profile: Option<&'a Profile>,
    pub members: Vec<Member<'a>>,
}

/// What a client is offered.
#[derive(Debug, Serialize)]
pub struct Offer {
    pub entry: Option<String>,
    pub servers: Vec<String>,
    /// In the order of the list.
    pub tools: Vec<Tool>,
    /// Of all tools together.
    pub tokens: usize,
    /// Their full names.
    pub prompts: Vec<String>,
    pub resources: usize,
    pub templates: usize,
    /// Tools that `tools` and `deny_tools` keep back, by their full names.
    pub forbidden: Vec<String>,
    pub left_out: Vec<LeftOut>,
    /// Tools that are described otherwise than a person has accepted.
    pub held: Vec<HeldTool>,
    /// Beside those of single tools.
    pub losses: Vec<Loss>,
    /// Servers that have told nothing yet.
    pub unknown: Vec<String>,
}

/// A tool, measured.
#[derive(Debug, Serialize)]
pub struct Tool {
    pub server: String,
    /// As its server calls it.
    pub name: String,
    /// As berth calls it to the client.
    pub full_name: String,
    /// Characters of `mcp__ENTRY__` and the full name.
    pub length: usize,
    /// Characters.
    pub description: usize,
    /// Bytes of its parameters' schema.
    pub schema: usize,
    /// A guess: a quarter of its bytes.
    pub tokens: usize,
    pub losses: Vec<Loss>,
}

/// Something that no client is shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LeftOut {
    pub server: String,
    /// Its name or its URI.
    pub name: String,
    pub why: String,
}

/// Measures all that the members told.
pub fn of(asked: &Asked<'_>) -> Offer {
    let mut offer = Offer {
        entry: asked.entry.map(str::to_owned),
        servers: asked.members.iter().map(|member| member.server.name.clone()).collect(),
        tools: Vec::new(),
        tokens: 0,
        prompts: Vec::new(),
        resources: 0,
        templates: 0,
        forbidden: Vec::new(),
        left_out: Vec::new(),
        held: Vec::new(),
        losses: Vec::new(),
        unknown: Vec::new(),
    };
    let mut taken = Taken::default();
    for member in &asked.members {
        let held = member.held.iter().cloned();
        offer.held.extend(held.map(|held| HeldTool::of(member.server, held)));
        let Some(told) = &member.told else {
            offer.unknown.push(member.server.name.clone());
            continue;
        };
        let lists = [&told.tools, &told.prompts, &told.resources, &told.templates];
        for left in lists.into_iter().flatten().flat_map(|list| &list.left_out) {
            offer.leave_out(member.server, left.name.clone(), left.why.clone());
        }
        for item in items(told.tools.as_ref()) {
            offer.tool(asked, member.server, &mut taken, item);
        }
        for item in items(told.prompts.as_ref()) {
            offer.prompt(asked, member.server, &mut taken, item);
        }
        let (resources, templates) = (told.resources.as_ref(), told.templates.as_ref());
        offer.resources += offer.first(&mut taken, member.server, "uri", resources);
        offer.templates += offer.first(&mut taken, member.server, "uriTemplate", templates);
        if asked.profile.is_none() {
            offer.losses.extend(loss::of_instructions(instructions(&told.hello)));
            offer.losses.extend(loss::of_pages(member.server, told));
        }
    }
    offer.tokens = offer.tools.iter().map(|tool| tool.tokens).sum();
    offer
}

/// Who has a name or a URI already.
#[derive(Debug, Default)]
struct Taken {
    tools: BTreeSet<String>,
    prompts: BTreeSet<String>,
    /// By the member that it stands under.
    uris: BTreeMap<(&'static str, String), String>,
}

impl Offer {
    fn tool(&mut self, asked: &Asked<'_>, server: &Server, taken: &mut Taken, item: Raw<'_>) {
        let Some(name) = text(item, "name") else { return };
        let full = called(asked, server, &name);
        let settings = &server.settings;
        let by_server = permits(settings.tools.as_deref(), &settings.deny_tools, &name);
        let by_profile =
            asked.profile.is_none_or(|profile| permits(profile.tools.as_deref(), &profile.deny_tools, &full));
        if !by_server || !by_profile {
            self.forbidden.push(full);
            return;
        }
        if !taken.tools.insert(full.clone()) {
            self.leave_out(server, name, format!("another tool is called `{full}`"));
            return;
        }
        let schema = raw::member(item, "inputSchema").map_or(0, |schema| schema.get().len());
        let bytes = item.get().len() + full.len() - name.len();
        let mut tool = Tool {
            server: server.name.clone(),
            // Where no entry is known, its characters are counted as they are reserved.
            length: loss::around(asked.entry) + full.chars().count(),
            description: text(item, "description").map_or(0, |text| loss::characters(&text)),
            schema,
            tokens: bytes.div_ceil(BYTES_OF_A_TOKEN),
            losses: Vec::new(),
            name,
            full_name: full,
        };
        tool.losses = loss::of_tool(&tool);
        self.tools.push(tool);
    }

    fn prompt(&mut self, asked: &Asked<'_>, server: &Server, taken: &mut Taken, item: Raw<'_>) {
        let Some(name) = text(item, "name") else { return };
        let full = called(asked, server, &name);
        if taken.prompts.insert(full.clone()) {
            self.prompts.push(full);
        } else {
            self.leave_out(server, name, format!("another prompt is called `{full}`"));
        }
    }

    /// How many of a list's URIs no server before has announced.
    fn first(
        &mut self,
        taken: &mut Taken,
        server: &Server,
        member: &'static str,
        list: Option<&List>,
    ) -> usize {
        let mut count = 0;
        for uri in items(list).filter_map(|item| text(item, member)) {
            if let Some(first) = taken.uris.get(&(member, uri.clone())) {
                let why = format!("`{first}` announces it, too, and is asked for it");
                self.leave_out(server, uri, why);
            } else {
                taken.uris.insert((member, uri), server.name.clone());
                count += 1;
            }
        }
        count
    }

    fn leave_out(&mut self, server: &Server, name: String, why: String) {
        self.left_out.push(LeftOut { server: server.name.clone(), name, why });
    }
}

/// What a token is taken for; it depends on the model and on the language.
const BYTES_OF_A_TOKEN: usize = 4;

/// What berth calls a tool or a prompt.
fn called(asked: &Asked<'_>, server: &Server, name: &str) -> String {
    match asked.profile {
        Some(_) => full_name(server.prefix(), name, room(asked.entry)),
        None => name.to_owned(),
    }
}

fn items(list: Option<&List>) -> impl Iterator<Item = Raw<'_>> {
    let items = list.into_iter().flat_map(|list| &list.items);
    items.filter_map(|item| Raw::parse(std::str::from_utf8(item).ok()?))
}

fn text(item: Raw<'_>, member: &str) -> Option<String> {
    raw::member(item, member).and_then(raw::string).map(std::borrow::Cow::into_owned)
}

fn instructions(hello: &Hello) -> Option<String> {
    let (Hello::Initialize(result) | Hello::Discover(result)) = hello else { return None };
    text(Raw::parse(std::str::from_utf8(result).ok()?)?, "instructions")
}

#[cfg(test)]
mod tests;
