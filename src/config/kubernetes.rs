//! Which cluster the pods of sessions run in, and what berth needs there.

use std::path::{Path, PathBuf};

use super::error::ConfigError;
use super::home::Home;
use super::key::Key;
use super::reader::Section;
use super::settings::definition::DefaultValue;
use crate::values::ByteSize;

/// The images, where nobody names others.
const KEEPER: &str = "berth-keeper";
const AGENT: &str = "berth";
/// What a volume asks for, where nobody says it (bytes).
const STORAGE: u64 = 1 << 30;

/// The `[kubernetes]` table.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Kubernetes {
    /// Of the kubeconfig; `None`: its current one.
    pub context: Option<String>,
    /// `None`: the context's.
    pub namespace: Option<String>,
    /// `None`: what kubectl would take, in a pod its service account.
    pub kubeconfig: Option<PathBuf>,
    /// Where images are that berth has made, such as `registry.example/mcp`.
    pub registry: Option<String>,
    /// What brings the keeper in place of a config map.
    pub keeper_image: Option<String>,
    agent_image: Option<String>,
    /// Of the claims that `volumes` become; `None`: the cluster's own.
    pub storage_class: Option<String>,
    storage_size: Option<u64>,
    /// What each pod has beside berth's own.
    pub pod_template: Option<PathBuf>,
    /// A server without a network may start where nothing keeps it from having one.
    pub accept_unenforced: bool,
}

/// The keys of the table.
pub const KEYS: [Key; 10] = [
    Key::new("context", DefaultValue::Words("the current one"), "the context of the kubeconfig"),
    Key::new("namespace", DefaultValue::Words("the context's"), "the namespace of the sessions' pods"),
    Key::new(
        "kubeconfig",
        DefaultValue::Words("as kubectl: `KUBECONFIG`, or `~/.kube/config`"),
        "the kubeconfig; in a pod without one the service account counts",
    ),
    Key::new(
        "registry",
        DefaultValue::Words("none"),
        "where the images are that berth has made, such as `registry.example/mcp`",
    ),
    Key::new(
        "keeper_image",
        DefaultValue::Words("none: a config map that `berth kubernetes up` makes"),
        "the image that brings berth's keeper into each pod (`berth kubernetes image`)",
    ),
    Key::new(
        "agent_image",
        DefaultValue::Words("`berth:VERSION`, in `registry` where there is one"),
        "the image with berth itself, for agents that run in the cluster",
    ),
    Key::new(
        "storage_class",
        DefaultValue::Words("the cluster's own"),
        "the storage class of the claims that `volumes` become",
    ),
    Key::new("storage_size", DefaultValue::Value("\"1g\""), "what each of these claims asks for"),
    Key::new(
        "pod_template",
        DefaultValue::Words("none"),
        "a file with what each pod has beside berth's own: tolerations, node selectors, labels, sidecars",
    ),
    Key::new(
        "accept_unenforced",
        DefaultValue::Words("`false`"),
        "start servers with `network = \"none\"` though nobody has shown that the cluster enforces its network \
         policies; such a server may reach everything",
    ),
];

impl Kubernetes {
    pub(super) fn read(mut section: Section, file: &Path, home: &Home) -> Result<Self, ConfigError> {
        let path = |path: String| home.resolve(Path::new(&path), file);
        let kubernetes = Self {
            context: section.take("context")?,
            namespace: section.take("namespace")?,
            kubeconfig: section.take("kubeconfig")?.map(path),
            registry: section.take("registry")?,
            keeper_image: section.take("keeper_image")?,
            agent_image: section.take("agent_image")?,
            storage_class: section.take("storage_class")?,
            storage_size: section.take::<ByteSize>("storage_size")?.map(ByteSize::bytes),
            pod_template: section.take("pod_template")?.map(path),
            accept_unenforced: section.take("accept_unenforced")?.unwrap_or_default(),
        };
        section.finish()?;
        Ok(kubernetes)
    }

    /// What a new volume has room for (bytes).
    pub fn storage_size(&self) -> u64 {
        self.storage_size.unwrap_or(STORAGE)
    }

    /// What the image that brings the keeper is called, where one does.
    pub fn keeper_image(&self) -> String {
        self.image(self.keeper_image.as_deref(), KEEPER)
    }

    /// The reference of the image with berth itself.
    pub fn agent_image(&self) -> String {
        self.image(self.agent_image.as_deref(), AGENT)
    }

    fn image(&self, named: Option<&str>, own: &str) -> String {
        let version = env!("CARGO_PKG_VERSION");
        match (named, &self.registry) {
            (Some(image), _) => image.to_owned(),
            (None, Some(registry)) => format!("{}/{own}:{version}", registry.trim_end_matches('/')),
            (None, None) => format!("{own}:{version}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::values::Backend;

    #[test]
    fn a_table_names_a_cluster_and_the_keepers_image() {
        let home = Home::from_env(&|name| (name == "BERTH_HOME").then(|| "/b".to_owned())).unwrap();
        let parse = |text: &str| Config::parse(text, Path::new("/c/b.toml"), &home);
        let read = |text: &str| parse(&format!("[kubernetes]\n{text}")).unwrap().kubernetes;
        assert_eq!(parse("").unwrap().kubernetes, Kubernetes::default());
        let given = read("context = \"c\"\nnamespace = \"n\"\nkubeconfig = \"k\"\npod_template = \"/t\"");
        assert_eq!((given.context.as_deref(), given.namespace.as_deref()), (Some("c"), Some("n")));
        assert_eq!(given.kubeconfig, Some("/c/k".into()), "beside the configuration");
        assert_eq!(given.pod_template, Some("/t".into()));
        assert_eq!((given.storage_size(), &given.storage_class), (1 << 30, &None));
        let stored = read("storage_class = \"fast\"\nstorage_size = \"5g\"");
        assert_eq!((stored.storage_size(), stored.storage_class.as_deref()), (5 << 30, Some("fast")));
        let version = env!("CARGO_PKG_VERSION");
        assert_eq!(given.keeper_image(), format!("berth-keeper:{version}"));
        assert_eq!(read("registry = \"r/x/\"").keeper_image(), format!("r/x/berth-keeper:{version}"));
        assert_eq!(read("registry = \"r\"\nkeeper_image = \"k:1\"").keeper_image(), "k:1");
        assert_eq!(
            read("registry = \"r\"\nkeeper_image = \"k:1\"").agent_image(),
            format!("r/berth:{version}")
        );
        assert_eq!(read("agent_image = \"a:1\"").agent_image(), "a:1");
        assert!(!given.accept_unenforced && read("accept_unenforced = true").accept_unenforced);
        let server = |backend: &str| format!("[servers.{backend}]\nimage = \"i\"\nbackend = \"{backend}\"\n");
        let config = parse(&(server("kubernetes") + "[servers.here]\nimage = \"j\"\n")).unwrap();
        assert_eq!(
            config.foreign_images().into_iter().collect::<Vec<_>>(),
            ["j"],
            "the daemon needs no other"
        );
        // Who uses which of them, where only a server or the defaults say so.
        let uses = |text: &str| {
            let config = parse(text).unwrap();
            [Backend::Docker, Backend::Kubernetes].map(|backend| config.uses(backend))
        };
        assert_eq!(uses(""), [true, false]);
        assert_eq!(uses("[defaults]\nbackend = \"kubernetes\""), [false, true]);
        assert_eq!(uses(&server("kubernetes")), [false, true]);
        assert_eq!(uses(&(server("kubernetes") + &server("docker"))), [true, true]);
        assert_eq!(uses(&format!("[kubernetes]\nnamespace = \"n\"\n{}", server("docker"))), [true, true]);
        let error = parse("[kubernetes]\nnamspace = \"n\"").unwrap_err().to_string();
        assert!(error.contains("did you mean `namespace`?"), "{error}");
    }
}
