//! Ports that are known by the name of a product, and words that tell what an address is for.

/// Products that servers connect to, and their ports. The first that fits counts.
const PRODUCTS: [(&str, &[&str], u16); 29] = [
    ("PostgreSQL", &["postgres", "postgresql", "pg", "pgsql", "timescale", "timescaledb"], 5432),
    ("MySQL", &["mysql", "mariadb"], 3306),
    ("Redis", &["redis", "valkey", "rediss"], 6379),
    ("MongoDB", &["mongo", "mongodb"], 27017),
    ("Neo4j", &["neo4j", "bolt", "memgraph"], 7687),
    ("Elasticsearch", &["elasticsearch", "elastic", "es", "opensearch"], 9200),
    ("Qdrant", &["qdrant"], 6333),
    ("Milvus", &["milvus"], 19530),
    ("Weaviate", &["weaviate"], 8080),
    ("Meilisearch", &["meilisearch", "meili"], 7700),
    ("Typesense", &["typesense"], 8108),
    ("ClickHouse", &["clickhouse"], 8123),
    ("Cassandra", &["cassandra", "scylla"], 9042),
    ("CouchDB", &["couchdb"], 5984),
    ("Couchbase", &["couchbase"], 8091),
    ("SQL Server", &["mssql", "sqlserver"], 1433),
    ("Oracle", &["oracle"], 1521),
    ("InfluxDB", &["influx", "influxdb"], 8086),
    ("Memcached", &["memcached"], 11211),
    ("RabbitMQ", &["rabbitmq", "amqp"], 5672),
    ("Kafka", &["kafka"], 9092),
    ("NATS", &["nats"], 4222),
    ("MQTT broker", &["mqtt"], 1883),
    ("Prometheus", &["prometheus"], 9090),
    ("Grafana", &["grafana"], 3000),
    ("Loki", &["loki"], 3100),
    ("Vault", &["vault"], 8200),
    ("LDAP server", &["ldap"], 389),
    ("Ollama", &["ollama"], 11434),
];

/// Programs of a person's own screen: their servers speak with them on this machine, and need not be told where.
const APPS: [(&str, &[&str], u16); 9] = [
    ("Blender", &["blender"], 9876),
    ("Ollama", &["ollama"], 11434),
    ("Obsidian", &["obsidian"], 27124),
    ("Anki", &["anki"], 8765),
    ("LM Studio", &["lmstudio"], 1234),
    ("ComfyUI", &["comfyui"], 8188),
    ("Ableton Live", &["ableton"], 9877),
    ("FreeCAD", &["freecad"], 9875),
    ("QGIS", &["qgis", "qgismcp"], 9876),
];

/// Ports on which servers themselves listen.
const WEB: [u16; 9] = [80, 3000, 3001, 5000, 8000, 8001, 8080, 8081, 8888];

/// A name with one of these alone in front of its `HOST` is of what the server itself listens at.
const OWN: [&str; 14] = [
    "",
    "MCP",
    "FASTMCP",
    "SERVER",
    "MCPSERVER",
    "HTTP",
    "SSE",
    "WEB",
    "UI",
    "DASHBOARD",
    "INSPECTOR",
    "METRICS",
    "LISTEN",
    "BIND",
];

/// The words of a name: cut at everything that is no letter and no digit, in lower case.
pub(super) fn words(name: &str) -> Vec<String> {
    let words = name.split(|c: char| !c.is_ascii_alphanumeric());
    words.filter(|word| !word.is_empty()).map(str::to_ascii_lowercase).collect()
}

fn find(table: &[(&'static str, &[&str], u16)], words: &[String]) -> Option<(&'static str, u16)> {
    let fits = |names: &[&str]| words.iter().any(|word| names.contains(&word.as_str()));
    table.iter().find(|(_, names, _)| fits(names)).map(|(name, _, port)| (*name, *port))
}

/// The product that one of the words names, and its port.
pub(super) fn default_of_product(words: &[String]) -> Option<(&'static str, u16)> {
    find(&PRODUCTS, words)
}

/// The program on the person's screen that one of the words names, and its port.
pub(super) fn app(words: &[String]) -> Option<(&'static str, u16)> {
    find(&APPS, words)
}

/// `postgresql+asyncpg`, `bolt+s`, `https`.
pub(super) fn default_of_scheme(scheme: &str) -> Option<u16> {
    let scheme = scheme.to_ascii_lowercase();
    let plain = scheme.split('+').next().unwrap_or_default();
    Some(match plain {
        "http" | "ws" => 80,
        "https" | "wss" => 443,
        "ssh" | "sftp" => 22,
        "ftp" => 21,
        "smtp" => 25,
        "ldaps" => 636,
        "amqps" => 5671,
        _ => return find(&PRODUCTS, &words(plain)).map(|(_, port)| port),
    })
}

/// Whether it is an address that a browser is sent back to.
pub(super) fn redirects(name: &str, path: &str) -> bool {
    let (name, path) = (name.to_ascii_uppercase(), path.to_ascii_lowercase());
    let path = path.split(['?', '#']).next().unwrap_or_default().trim_end_matches('/');
    ["REDIRECT", "CALLBACK"].iter().any(|word| name.contains(word)) || path.ends_with("callback")
}

/// Whether a `HOST` with this in front is of what the server itself listens at.
pub(super) fn is_own_listener(stem: &str) -> bool {
    let plain: String = stem.chars().filter(char::is_ascii_alphanumeric).collect();
    OWN.contains(&plain.to_ascii_uppercase().as_str())
}

pub(super) fn is_web(port: u16) -> bool {
    WEB.contains(&port)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_are_known_by_words_and_not_by_parts_of_them() {
        assert_eq!(
            default_of_product(&words("@modelcontextprotocol/server-postgres")),
            Some(("PostgreSQL", 5432))
        );
        assert_eq!(default_of_product(&words("MYSQL_HOST")), Some(("MySQL", 3306)));
        assert_eq!(default_of_product(&words("pages")), None);
        assert_eq!(app(&words("blender-mcp")), Some(("Blender", 9876)));
        assert_eq!(default_of_scheme("postgresql+psycopg2"), Some(5432));
        assert_eq!(default_of_scheme("file"), None);
    }
}
