//! What of an offer a client does not get: the limits of Claude Code 2.1 and of Codex 0.169, and of the models behind them.

use serde::{Serialize, Serializer};

use super::Tool;
use crate::catalogue::Told;
use crate::config::Server;
use crate::values::Start;
use crate::values::full_name::{LONGEST, RESERVED_ENTRY};

/// Characters of a full name, `mcp__ENTRY__` included, that Claude Code takes.
const LONGEST_OF_CLAUDE_CODE: usize = 128;

/// Characters of a description and of a server's instructions that Claude Code takes.
const LONGEST_TEXT: usize = 2048;

/// Bytes of a schema up to which Codex keeps its descriptions.
const LONGEST_SCHEMA: usize = 5000;

/// Something that a client does not get.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Loss {
    Tool,
    Name,
    Description,
    Parameters,
    Instructions,
    Pages,
}

impl Loss {
    pub const ALL: [Self; 6] =
        [Self::Tool, Self::Name, Self::Description, Self::Parameters, Self::Instructions, Self::Pages];

    pub fn client(self) -> &'static str {
        match self {
            Self::Tool | Self::Description | Self::Instructions => "Claude Code",
            Self::Name | Self::Parameters | Self::Pages => "Codex",
        }
    }

    /// What is lost, in a word.
    pub fn what(self) -> &'static str {
        match self {
            Self::Tool => "tool",
            Self::Name => "name",
            Self::Description => "description",
            Self::Parameters => "parameters",
            Self::Instructions => "instructions",
            Self::Pages => "pages",
        }
    }

    /// A sentence without a full stop.
    pub fn why(self) -> &'static str {
        match self {
            Self::Tool => "Claude Code leaves out a tool whose name has over 128 characters, without a word",
            Self::Name => {
                "Codex cuts a name of over 64 characters, and some models' APIs (OpenAI, Bedrock) refuse it"
            }
            Self::Description => "Claude Code cuts a description at 2,048 characters",
            Self::Parameters => "Codex leaves out the parameters' descriptions of a schema over 5,000 bytes",
            Self::Instructions => "Claude Code cuts the server's instructions at 2,048 characters",
            Self::Pages => "Codex reads page 1 of a list only; `flatten_pages = true` makes one page of all",
        }
    }
}

impl Serialize for Loss {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeStruct;
        let mut object = serializer.serialize_struct("Loss", 3)?;
        object.serialize_field("client", self.client())?;
        object.serialize_field("what", self.what())?;
        object.serialize_field("why", self.why())?;
        object.end()
    }
}

/// Characters around a tool's name: `mcp__ENTRY__`.
pub(super) fn around(entry: Option<&str>) -> usize {
    "mcp____".len() + entry.map_or(RESERVED_ENTRY, characters)
}

/// As JavaScript counts them.
pub(super) fn characters(text: &str) -> usize {
    text.encode_utf16().count()
}

pub(super) fn of_tool(tool: &Tool) -> Vec<Loss> {
    let all = [
        (Loss::Tool, tool.length > LONGEST_OF_CLAUDE_CODE),
        (Loss::Name, tool.length > LONGEST),
        (Loss::Description, tool.description > LONGEST_TEXT),
        (Loss::Parameters, tool.schema > LONGEST_SCHEMA),
    ];
    all.into_iter().filter_map(|(loss, is_one)| is_one.then_some(loss)).collect()
}

/// Of a single server: berth makes one page only where it answers for the server, or is told to.
pub(super) fn of_pages(server: &Server, told: &Told) -> Option<Loss> {
    let merges = server.settings.flatten_pages || server.settings.start(false) == Start::FirstCall;
    let lists = [&told.tools, &told.prompts, &told.resources, &told.templates];
    let has_more = lists.into_iter().flatten().any(|list| list.pages > 1);
    (has_more && !merges).then_some(Loss::Pages)
}

/// Those of a profile share the room.
pub(super) fn of_instructions(instructions: Option<String>) -> Option<Loss> {
    instructions.filter(|text| characters(text) > LONGEST_TEXT).map(|_| Loss::Instructions)
}
