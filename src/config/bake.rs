//! How packages become images: the base images, the registries, and the limits of an installation.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::Home;
use super::error::ConfigError;
use super::key::Key;
use super::reader::Section;
use super::settings::definition::DefaultValue;
use crate::runner::{Runner, Runtime};
use crate::values::Image;
use crate::values::Value;
use crate::values::{Cpus, Memory, Timeout};

/// The `[bake]` table.
#[derive(Clone, PartialEq, Eq)]
pub struct Bake {
    /// The image with Node and npm.
    pub node: String,
    /// The image with Python and uv.
    pub uv: String,
    /// The image with a Java runtime.
    pub java: String,
    /// Instead of npm's own.
    pub npm_registry: Option<String>,
    /// Instead of `PyPI`.
    pub python_index: Option<String>,
    /// For whatever is downloaded.
    pub proxy: Option<String>,
    /// What is reached without it, separated by commas.
    pub no_proxy: Option<String>,
    /// A bundle of certificates in PEM, for the downloads and for the servers.
    pub ca: Option<PathBuf>,
    /// Bytes.
    pub memory: u64,
    pub nano_cpus: i64,
    pub time: Duration,
}

/// The keys of the table.
pub const KEYS: [Key; 11] = [
    Key::new("node", DefaultValue::Value("\"node:22-slim\""), "the image with Node and npm"),
    Key::new(
        "uv",
        DefaultValue::Value("\"ghcr.io/astral-sh/uv:python3.13-bookworm-slim\""),
        "the image with Python and uv",
    ),
    Key::new(
        "java",
        DefaultValue::Value("\"eclipse-temurin:21-jre\""),
        "the image with a Java runtime, for `java -jar FILE`",
    ),
    Key::new("npm_registry", DefaultValue::Words("the public registry"), "a mirror"),
    Key::new("python_index", DefaultValue::Words("the public index"), "a mirror"),
    Key::new("proxy", DefaultValue::Words("none"), "for the downloads"),
    Key::new(
        "no_proxy",
        DefaultValue::Words("none"),
        "hosts that are reached without it, with commas between",
    ),
    Key::new(
        "ca",
        DefaultValue::Words("none"),
        "a whole bundle of certificates (PEM), for the downloads and for the servers",
    ),
    Key::new("memory", DefaultValue::Value("\"2g\""), "limit of an installation"),
    Key::new("cpus", DefaultValue::Value("1"), "limit of an installation"),
    Key::new("time", DefaultValue::Value("\"10m\""), "limit of an installation"),
];

impl Default for Bake {
    fn default() -> Self {
        Self {
            node: "node:22-slim".to_owned(),
            uv: "ghcr.io/astral-sh/uv:python3.13-bookworm-slim".to_owned(),
            java: "eclipse-temurin:21-jre".to_owned(),
            npm_registry: None,
            python_index: None,
            proxy: None,
            no_proxy: None,
            ca: None,
            memory: 2 << 30,
            nano_cpus: 1_000_000_000,
            time: Duration::from_mins(10),
        }
    }
}

impl Bake {
    pub(super) fn read(mut section: Section, file: &Path, home: &Home) -> Result<Self, ConfigError> {
        let default = Self::default();
        let url = |url: Option<Url>| url.map(|url| url.0);
        let bake = Self {
            node: section.take("node")?.map_or(default.node, Image::into_inner),
            uv: section.take("uv")?.map_or(default.uv, Image::into_inner),
            java: section.take("java")?.map_or(default.java, Image::into_inner),
            npm_registry: url(section.take_quietly("npm_registry")?),
            python_index: url(section.take_quietly("python_index")?),
            proxy: url(section.take_quietly("proxy")?),
            no_proxy: section.take::<String>("no_proxy")?,
            ca: section.take::<String>("ca")?.map(|ca| home.resolve(Path::new(&ca), file)),
            memory: section.take("memory")?.map_or(default.memory, Memory::bytes),
            nano_cpus: section.take("cpus")?.map_or(default.nano_cpus, Cpus::nanos),
            time: section.take("time")?.map_or(default.time, Timeout::duration),
        };
        section.finish()?;
        Ok(bake)
    }

    /// The image that a runner's packages are installed on.
    pub fn base(&self, runner: Runner) -> &str {
        match runner {
            Runner::Npx => &self.node,
            Runner::Uvx | Runner::Uv => &self.uv,
        }
    }

    /// The image that runs scripts.
    pub fn runtime(&self, runtime: Runtime) -> &str {
        match runtime {
            Runtime::Node => &self.node,
            Runtime::Python => &self.uv,
            Runtime::Java => &self.java,
        }
    }

    /// Where a runner's packages come from, if not from where they usually do.
    pub fn registry(&self, runner: Runner) -> Option<&str> {
        match runner {
            Runner::Npx => self.npm_registry.as_deref(),
            Runner::Uvx | Runner::Uv => self.python_index.as_deref(),
        }
    }
}

/// Addresses may hold credentials.
impl fmt::Debug for Bake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bake").field("node", &self.node).field("uv", &self.uv).finish_non_exhaustive()
    }
}

/// An address that goes into a shell's variable as it is.
struct Url(String);

impl Value for Url {
    const EXPECTED: &'static str = "an address such as \"https://registry.example.org/npm/\"";

    fn from_text(text: &str) -> Option<Self> {
        let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"))?;
        let valid = !rest.is_empty() && rest.chars().all(|c| c.is_ascii_graphic() && !"'\"\\`$".contains(c));
        valid.then(|| Self(text.to_owned()))
    }
}
