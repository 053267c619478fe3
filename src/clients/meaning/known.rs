//! What is known of packages: where they keep what they remember, whether they work on a project, which log-ins and
//! variables they live on. From their own code and manuals; a package that is not here gets what its line says.

use crate::runner::{Package, Parsed, Program, Runner};

/// Where a package keeps what it remembers, if nobody says another place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Memory {
    /// In a file that this variable names.
    Variable(&'static str, &'static str),
    /// In the folder that this variable names.
    Folder(&'static str),
    /// In a file that this flag names.
    Flag(&'static str, &'static str),
    /// In this folder of the home.
    Home(&'static str),
}

/// One package, or several of the same making.
#[derive(Debug)]
pub(super) struct Known {
    /// Without scope where the scope does not matter.
    packages: &'static [&'static str],
    pub memory: Option<Memory>,
    /// Works on the project that the client is in.
    pub project: bool,
    /// Writes in the folders that it is given.
    pub writes: bool,
    /// Folders of the home with log-ins or keys of its own.
    pub logins: &'static [&'static str],
}

const NOTHING: Known = Known { packages: &[], memory: None, project: false, writes: false, logins: &[] };

static PACKAGES: [Known; 15] = [
    Known {
        packages: &["@modelcontextprotocol/server-memory", "@itseasy21/mcp-knowledge-graph"],
        memory: Some(Memory::Variable("MEMORY_FILE_PATH", "memory.jsonl")),
        ..NOTHING
    },
    Known {
        packages: &["mcp-server-sqlite"],
        memory: Some(Memory::Flag("--db-path", "sqlite_mcp_server.db")),
        writes: true,
        ..NOTHING
    },
    Known {
        packages: &["@allpepper/memory-bank-mcp"],
        memory: Some(Memory::Folder("MEMORY_BANK_ROOT")),
        writes: true,
        ..NOTHING
    },
    Known { packages: &["mcp-shrimp-task-manager"], memory: Some(Memory::Folder("DATA_DIR")), ..NOTHING },
    Known {
        packages: &["basic-memory"],
        memory: Some(Memory::Home("basic-memory")),
        writes: true,
        ..NOTHING
    },
    Known {
        packages: &["mcp-memory-service"],
        memory: Some(Memory::Folder("MCP_MEMORY_BASE_DIR")),
        ..NOTHING
    },
    Known { packages: &["@gongrzhe/server-gmail-autoauth-mcp"], logins: &[".gmail-mcp"], ..NOTHING },
    Known { packages: &["@cocal/google-calendar-mcp"], logins: &[".config/google-calendar-mcp"], ..NOTHING },
    Known { packages: &["chroma-mcp"], writes: true, ..NOTHING },
    Known { packages: &["@modelcontextprotocol/server-filesystem"], writes: true, ..NOTHING },
    Known {
        packages: &["@wonderwhy-er/desktop-commander", "wcgw", "serena", "serena-agent"],
        project: true,
        writes: true,
        ..NOTHING
    },
    Known {
        packages: &["@cyanheads/git-mcp-server", "mcp-server-git", "git-mcp-server"],
        project: true,
        writes: true,
        ..NOTHING
    },
    Known {
        packages: &["code-index-mcp", "repomix", "@eslint/mcp", "@buger/probe-mcp", "mcp-language-server"],
        project: true,
        ..NOTHING
    },
    Known {
        packages: &["@zilliz/claude-context-mcp"],
        memory: Some(Memory::Home(".context")),
        project: true,
        ..NOTHING
    },
    Known { packages: &["task-master-ai", "figma-developer-mcp"], project: true, writes: true, ..NOTHING },
];

/// Packages that live on a service: by a word of their name.
#[derive(Debug)]
pub(super) struct Family {
    words: &'static [&'static str],
    /// Variables of the shell.
    pub variables: &'static [&'static str],
    /// Folders of the home with log-ins.
    pub logins: &'static [&'static str],
}

static FAMILIES: [Family; 17] = [
    Family {
        words: &["aws", "awslabs", "bedrock", "dynamodb", "cloudwatch"],
        variables: &[
            "AWS_PROFILE",
            "AWS_REGION",
            "AWS_DEFAULT_REGION",
            "AWS_ACCESS_KEY_ID",
            "AWS_SECRET_ACCESS_KEY",
            "AWS_SESSION_TOKEN",
        ],
        logins: &[".aws"],
    },
    Family {
        words: &["azure", "azmcp"],
        variables: &["AZURE_TENANT_ID", "AZURE_CLIENT_ID", "AZURE_CLIENT_SECRET", "AZURE_SUBSCRIPTION_ID"],
        logins: &[".azure"],
    },
    Family {
        words: &["kubernetes", "kubectl", "k8s", "helm", "openshift"],
        variables: &["KUBECONFIG"],
        logins: &[".kube"],
    },
    Family {
        words: &["gcloud", "gcp", "bigquery", "firebase", "vertex"],
        variables: &["GOOGLE_APPLICATION_CREDENTIALS", "GOOGLE_CLOUD_PROJECT"],
        logins: &[".config/gcloud"],
    },
    Family {
        words: &["mysql", "mariadb"],
        variables: &[
            "MYSQL_HOST",
            "MYSQL_PORT",
            "MYSQL_USER",
            "MYSQL_PASS",
            "MYSQL_PASSWORD",
            "MYSQL_DB",
            "MYSQL_DATABASE",
        ],
        logins: &[],
    },
    Family {
        words: &["postgres", "postgresql", "pg"],
        variables: &[
            "DATABASE_URI",
            "DATABASE_URL",
            "PGHOST",
            "PGPORT",
            "PGUSER",
            "PGPASSWORD",
            "PGDATABASE",
        ],
        logins: &[],
    },
    Family {
        words: &["redis", "valkey"],
        variables: &["REDIS_URL", "REDIS_HOST", "REDIS_PORT", "REDIS_PWD", "REDIS_USERNAME"],
        logins: &[],
    },
    Family {
        words: &["mongodb", "mongo"],
        variables: &["MDB_MCP_CONNECTION_STRING", "MONGODB_URI"],
        logins: &[],
    },
    Family {
        words: &["github"],
        variables: &["GITHUB_PERSONAL_ACCESS_TOKEN", "GITHUB_TOKEN", "GITHUB_HOST"],
        logins: &[],
    },
    Family {
        words: &["gitlab"],
        variables: &["GITLAB_PERSONAL_ACCESS_TOKEN", "GITLAB_TOKEN", "GITLAB_API_URL"],
        logins: &[],
    },
    Family { words: &["slack"], variables: &["SLACK_BOT_TOKEN", "SLACK_TEAM_ID"], logins: &[] },
    Family {
        words: &["atlassian", "jira", "confluence"],
        variables: &["JIRA_URL", "JIRA_USERNAME", "JIRA_API_TOKEN", "CONFLUENCE_URL", "CONFLUENCE_API_TOKEN"],
        logins: &[],
    },
    Family { words: &["openai"], variables: &["OPENAI_API_KEY"], logins: &[] },
    Family { words: &["neo4j"], variables: &["NEO4J_URI", "NEO4J_USERNAME", "NEO4J_PASSWORD"], logins: &[] },
    Family { words: &["elasticsearch"], variables: &["ES_URL", "ES_API_KEY"], logins: &[] },
    Family { words: &["notion"], variables: &["NOTION_TOKEN", "NOTION_API_KEY"], logins: &[] },
    Family { words: &["sentry"], variables: &["SENTRY_ACCESS_TOKEN", "SENTRY_HOST"], logins: &[] },
];

/// A package by its name, without what is around it in a repository's address.
fn name(package: &Package) -> &str {
    let main = package.main();
    if !main.contains("://") {
        return package.bare();
    }
    let path = main.split(['#', '?']).next().unwrap_or(main).trim_end_matches('/');
    let last = path.rsplit('/').next().unwrap_or(path);
    // A branch or a tag behind it.
    let last = last.split('@').next().unwrap_or(last);
    last.strip_suffix(".git").unwrap_or(last)
}

/// The package that runs, if one does.
fn package(parsed: &Parsed) -> Option<&Package> {
    match &parsed.program {
        // A project's folder is called as its person likes.
        Program::Package(package) => Some(package).filter(|package| package.runner != Runner::Uv),
        Program::Image { .. } | Program::Script { .. } => None,
    }
}

/// What is known of what runs.
pub(super) fn known(parsed: &Parsed) -> &'static Known {
    let found = package(parsed).map(name).and_then(|name| {
        PACKAGES.iter().find(|known| known.packages.iter().any(|known| known.eq_ignore_ascii_case(name)))
    });
    found.unwrap_or(&NOTHING)
}

/// The services that the package lives on, by its name.
pub(super) fn families(parsed: &Parsed) -> impl Iterator<Item = &'static Family> + use<'_> {
    FAMILIES.iter().filter(|family| names_any(parsed, family.words))
}

/// Whether the name of the package has one of these words.
pub(super) fn names_any(parsed: &Parsed, words: &[&str]) -> bool {
    let name = package(parsed).map(name).unwrap_or_default().to_ascii_lowercase();
    name.split(|c: char| !c.is_ascii_alphanumeric()).any(|part| words.contains(&part))
}
