//! Who has what: full names of tools and prompts, URIs of resources, and what a client is offered of them.
//!
//! Made of what the members told. A name means the same whoever else is configured or runs; of two members that announce one URI
//! the first has it.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use bytes::Bytes;

use super::line::{patched, quoted};
use crate::catalogue::List;
use crate::catalogue::pages::Kind;
use crate::rpc::raw::{self, Raw};
use crate::values::ToolPattern;
use crate::values::full_name::full_name;

/// Of one server, links beyond this number are not noted, for it could name them without end.
const MOST_URIS: usize = 4096;
/// Nor longer ones (bytes).
const LONGEST_URI: usize = 4096;

/// How names are given, and which of them are offered.
#[derive(Debug, Clone)]
pub(super) struct Naming {
    /// How long a full name may be; `None`: names stay as the server gave them.
    pub(super) room: Option<usize>,
    pub(super) allowed: Option<Vec<ToolPattern>>,
    pub(super) denied: Vec<ToolPattern>,
}

impl Naming {
    fn name(&self, label: &str, name: &str) -> String {
        self.room.map_or_else(|| name.to_owned(), |room| full_name(label, name, room))
    }

    /// Whether the profile offers the tool of this full name.
    pub(super) fn offers(&self, full: &str) -> bool {
        let is_allowed = |allowed: &Vec<ToolPattern>| allowed.iter().any(|pattern| pattern.matches(full));
        self.allowed.as_ref().is_none_or(is_allowed)
            && !self.denied.iter().any(|pattern| pattern.matches(full))
    }
}

/// A tool or a prompt of a member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Named {
    pub(super) member: usize,
    /// As its server calls it.
    pub(super) name: String,
}

/// Why a name leads nowhere.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Unknown {
    /// Nobody has it.
    Nobody,
    /// Several members have a tool that is called so; these are its full names.
    Several(Vec<String>),
}

/// All names and URIs of a session at the moment.
#[derive(Debug, Default)]
pub(super) struct Table {
    named: [HashMap<String, Named>; 2],
    /// A server's own name for its tool or prompt, and the full names that have it.
    bare: [HashMap<String, Vec<String>>; 2],
    uris: HashMap<String, usize>,
    /// What results have linked to; it outlives the lists.
    links: HashMap<String, usize>,
    /// What tools of MCP Apps are shown by.
    apps: HashMap<String, usize>,
    templates: HashMap<String, usize>,
    offered: [Vec<Bytes>; 4],
    /// Why elements are not offered, for a person.
    pub(super) left_out: Vec<String>,
}

impl Table {
    /// `members`: each one's number, label and lists, by [`Kind`], in the configuration's order.
    pub(super) fn of<'a>(
        naming: &Naming,
        members: impl Iterator<Item = (usize, &'a str, [Option<&'a List>; 4])>,
    ) -> Self {
        let mut table = Self::default();
        for (member, label, lists) in members {
            for kind in Kind::ALL {
                for item in lists[kind as usize].into_iter().flat_map(|list| &list.items) {
                    table.add(naming, kind, (member, label), item);
                }
            }
        }
        table
    }

    fn add(&mut self, naming: &Naming, kind: Kind, (member, label): (usize, &str), item: &Bytes) {
        let text = String::from_utf8_lossy(item);
        let found = Raw::parse(&text).and_then(|whole| raw::member(whole, kind.key()));
        let Some((raw, name)) = found.and_then(|raw| Some((raw, raw::string(raw)?.into_owned()))) else {
            return;
        };
        match kind {
            Kind::Tools | Kind::Prompts => {
                let full = naming.name(label, &name);
                if kind == Kind::Tools && !naming.offers(&full) {
                    return;
                }
                let Entry::Vacant(vacant) = self.named[kind as usize].entry(full.clone()) else {
                    self.left_out.push(format!("`{name}` of `{label}`: another one is called `{full}`"));
                    return;
                };
                vacant.insert(Named { member, name: name.clone() });
                let is_as_it_was = full == name;
                let item = if is_as_it_was {
                    item.clone()
                } else {
                    let line = patched(&text, &[(raw, quoted(&full))]);
                    line.slice(..line.len() - 1)
                };
                self.bare[kind as usize].entry(name).or_default().push(full);
                self.offered[kind as usize].push(item);
            }
            Kind::Resources => match self.uris.entry(name) {
                Entry::Vacant(vacant) => {
                    vacant.insert(member);
                    self.offered[kind as usize].push(item.clone());
                }
                Entry::Occupied(taken) => {
                    let what =
                        format!("the resource `{}` of `{label}`: a server before it has it", taken.key());
                    self.left_out.push(what);
                }
            },
            Kind::Templates => match self.templates.entry(name) {
                Entry::Vacant(vacant) => {
                    vacant.insert(member);
                    self.offered[kind as usize].push(item.clone());
                }
                Entry::Occupied(taken) => {
                    let what =
                        format!("the template `{}` of `{label}`: a server before it has it", taken.key());
                    self.left_out.push(what);
                }
            },
        }
        if kind == Kind::Tools {
            self.note_app(&text, member);
        }
    }

    /// A tool of an MCP App names the resource that shows it.
    fn note_app(&mut self, tool: &str, member: usize) {
        let Some(meta) = Raw::parse(tool).and_then(|tool| raw::member(tool, "_meta")) else { return };
        let nested = || raw::member(raw::member(meta, "ui")?, "resourceUri");
        let uri = nested().or_else(|| raw::member(meta, "ui/resourceUri")).and_then(raw::string);
        if let Some(uri) = uri {
            self.apps.entry(uri.into_owned()).or_insert(member);
        }
    }

    /// What is offered of a kind, in the configuration's order.
    pub(super) fn offered(&self, kind: Kind) -> &[Bytes] {
        &self.offered[kind as usize]
    }

    /// Who has the tool or the prompt of this name: its full name, or, where `may_be_bare`, its server's own name if only one
    /// member has such a tool.
    pub(super) fn named(&self, kind: Kind, name: &str, may_be_bare: bool) -> Result<&Named, Unknown> {
        let (named, bare) = (&self.named[kind as usize], &self.bare[kind as usize]);
        if let Some(found) = named.get(name) {
            return Ok(found);
        }
        match bare.get(name).filter(|_| may_be_bare).map(Vec::as_slice) {
            None | Some([]) => Err(Unknown::Nobody),
            Some([one]) => named.get(one).ok_or(Unknown::Nobody),
            Some(several) => Err(Unknown::Several(several.to_vec())),
        }
    }

    /// The same with what the one before it has seen results link to.
    pub(super) fn after(self, before: &mut Self) -> Self {
        Self { links: std::mem::take(&mut before.links), ..self }
    }

    /// A member has gone: nothing leads to it any more. Its full names.
    pub(super) fn forget(&mut self, member: usize) -> Vec<String> {
        self.links.retain(|_, owner| *owner != member);
        let named = self.named.iter().flatten().filter(|(_, named)| named.member == member);
        named.map(|(full, _)| full.clone()).collect()
    }

    /// All full names, in the alphabet's order.
    pub(super) fn full_names(&self, kind: Kind) -> Vec<String> {
        let mut names: Vec<String> = self.named[kind as usize].keys().cloned().collect();
        names.sort_unstable();
        names
    }

    /// A result links to resources, which its member then has.
    pub(super) fn note_links(&mut self, result: Raw<'_>, member: usize) {
        if memchr::memmem::find(result.get().as_bytes(), b"\"uri\"").is_none() {
            return;
        }
        let mut note = |object: Raw<'_>| {
            let inner = raw::member(object, "resource").unwrap_or(object);
            if let Some(uri) = raw::member(inner, "uri").and_then(raw::string)
                && uri.len() <= LONGEST_URI
                && self.links.values().filter(|owner| **owner == member).count() < MOST_URIS
            {
                self.links.entry(uri.into_owned()).or_insert(member);
            }
        };
        for list in ["content", "contents"].into_iter().filter_map(|name| raw::member(result, name)) {
            let _ = raw::elements(list, &mut note);
        }
    }

    /// Who has announced the URI: in a list, a result, a tool, or by the template that says most of it.
    pub(super) fn owner(&self, uri: &str) -> Option<usize> {
        let exact =
            [&self.uris, &self.links, &self.apps].into_iter().find_map(|known| known.get(uri).copied());
        let fixed = |template: &str| template.split('{').next().unwrap_or_default().len();
        let following = self.templates.iter().filter(|(template, _)| follows(uri, template));
        let by_template = following.max_by_key(|(template, member)| (fixed(template), usize::MAX - **member));
        exact.or_else(|| by_template.map(|(_, member)| *member))
    }

    /// Who has announced this very template.
    pub(super) fn template_owner(&self, template: &str) -> Option<usize> {
        self.templates.get(template).copied()
    }
}

/// Whether a URI may come of a template (RFC 6570): its fixed parts stand there in their order.
fn follows(uri: &str, template: &str) -> bool {
    let mut parts = template.split('{');
    let Some(mut rest) = parts.next().and_then(|first| uri.strip_prefix(first)) else { return false };
    let mut is_open = false;
    for part in parts {
        is_open = true;
        let fixed = part.split_once('}').map_or("", |(_, fixed)| fixed);
        if fixed.is_empty() {
            continue;
        }
        let Some(at) = rest.find(fixed) else { return false };
        rest = &rest[at + fixed.len()..];
        is_open = false;
    }
    // What ends in a fixed part ends there.
    is_open
        || rest.is_empty()
        || template.rsplit('}').next().is_some_and(|end| !end.is_empty() && uri.ends_with(end))
}
