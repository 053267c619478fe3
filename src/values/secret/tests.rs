use super::*;

#[test]
fn names_of_credentials_are_known_in_any_spelling() {
    for name in [
        "GITHUB_TOKEN",
        "token",
        "accessToken",
        "CLIENT_SECRET",
        "PGPASSWORD",
        "db-passwd",
        "OPENAI_API_KEY",
        "apiKey",
        "x-api-key",
        "API KEY",
        "private_key",
        "privateKey",
        "GOOGLE_APPLICATION_CREDENTIALS",
        "Authorization",
        "authorisation",
        "oauth2",
        "NPM_CONFIG__AUTH",
        "auth",
        "author_auth",
        "Set-Cookie",
        "REDIS_PWD",
        "MYSQL_PASS",
        "DBPASS",
        "GITLAB_PAT",
        "authtoken",
        "tavilyApiKey",
        "SUPABASE_SERVICE_ROLE_KEY",
        "APIKey",
        "AUTH0_SECRET",
        "SECRET_KEY_BASE",
        "DB_PASSWORD_PROD",
        "API_TOKEN_2",
        "AWS_ACCESS_KEY_ID",
        "refreshToken",
        "id_token",
        "tokens",
        "figma-api-key",
        "PAGE_ACCESS_TOKEN",
        "clientsecret",
        "seed_phrase",
        "JWT",
        "SIGNING_KEY",
        "authcode",
        "sshkey",
    ] {
        assert!(looks_secret(name), "{name}: {:?}", naming(name));
    }
}

#[test]
fn ordinary_names_are_not_hidden() {
    for name in [
        "HOME",
        "PATH",
        "GIT_AUTHOR_NAME",
        "authority",
        "author",
        "progressToken",
        "maxTokens",
        "MAX_TOKENS",
        "key",
        "monkey",
        "name",
        "",
        "token-limit",
        "token-file",
        "TOKEN_PATH",
        "auth-mode",
        "auth-type",
        "AUTH_METHOD",
        "auth-server",
        "AUTH_URL",
        "token-endpoint",
        "keyboard",
        "passthrough",
        "bypass",
        "compass",
        "PASSENGER_COUNT",
        "secret-name",
        "SECRET_ARN",
        "key-id",
        "tokenizer",
        "TOKENIZERS_PARALLELISM",
        "cookie-policy",
        "input_tokens",
        "maxOutputTokens",
        "max_completion_tokens",
        "nextPageToken",
        "tokenlimit",
        "authmode",
        "AUTH0_DOMAIN",
        "X-Auth-Email",
        "token_type",
        "expires_in",
        "token_expires_in",
        "PASSWORD_MIN_LENGTH",
        "SONARQUBE_PROJECT_KEY",
        "PUBLIC_KEY",
        "cookiecutter",
        "passwordless",
        "secretary",
        "authorized",
        "unauthorized",
        "authenticated",
        "PASSWORD_FILE",
        "OLDCWD",
        "by_pass",
        "AUTH_HEADER",
        "API_KEY_HEADER",
        "eos_token",
        "patch",
        "pattern",
        "sort_key",
        "hotkey",
        "turkey",
        "first_token",
        "GITLAB_OAUTH_CLIENT_ID",
        "GITLAB_OAUTH_REDIRECT_URI",
        "GITHUB_OAUTH_CALLBACK_PORT",
        "GITLAB_USE_OAUTH_FLOW",
    ] {
        assert!(!looks_secret(name), "{name}: {:?}", naming(name));
    }
}

#[test]
fn a_value_is_judged_with_its_name() {
    for (name, value) in [
        ("API_TOKEN", "root"),
        ("API_TOKEN", "true"),
        ("GITHUB_TOKEN", "FAKE"),
        ("REDIS_PWD", "123456"),
        ("MCP_AUTH", "Bearer FAKE.JWT.TOKEN"),
        ("BASIC_AUTH", "me:sesame"),
        ("OPENAI_KEY", "0123456789abcdef0123456789abcdef"),
        ("DATABASE_URI", "postgresql://me:sesame@db/x"),
        ("DSN", "me:sesame@tcp(db:3306)/x"),
        ("SENTRY_DSN", "https://0123456789abcdef@o1.ingest.sentry.io/2"),
        ("EXTRA_HEADERS", "{\"X-Tenant\": \"a\", \"Authorization\": \"Bearer FAKEFAKE\"}"),
        ("OPENAPI_MCP_HEADERS", "{\"Authorization\":\"Bearer ntn_FAKE\",\"Notion-Version\":\"2022-06-28\"}"),
        ("CUSTOM_HEADER", "X-Api-Key: sesame"),
        ("MODE", "ghp_FAKEFAKEFAKEFAKE0000"),
        ("CERT", "-----BEGIN RSA PRIVATE KEY-----\nMII\n-----END RSA PRIVATE KEY-----"),
        ("CONNECTION", "Server=db;Uid=me;Pwd=sesame4;Database=x"),
        ("STORAGE", "AccountName=a;AccountKey=c2VzYW1lc2VzYW1l;EndpointSuffix=x"),
        ("HOOK", "https://hooks.slack.com/services/T0001/B0001/sesamesesame"),
        ("URL", "https://mcp.tavily.com/mcp/?tavilyApiKey=tvly-FAKEFAKE"),
        ("AWS_ID", "AKIAIOSFODNN7EXAMPLE"),
        ("SECRET_ID", "0d1f3a7c-88e2-4c51-9f1e-5b6c7d8e9f00"),
    ] {
        assert!(is_secret(name, value), "{name}={value}");
    }
    for (name, value) in [
        ("AUTHENTICATION", "azcli"),
        ("AUTH", "managed-identity"),
        ("AUTH", "none"),
        ("CREDENTIALS", "same-origin"),
        ("CREDENTIAL", "DefaultAzureCredential"),
        ("GOOGLE_APPLICATION_CREDENTIALS", "/home/alex/key.json"),
        ("GMAIL_CREDENTIALS_PATH", "/gmail-server/credentials.json"),
        ("SSH_PRIVATE_KEY", "~/.ssh/id_ed25519"),
        ("TOKEN_FILE", "/run/secrets/token"),
        ("PWD", "/home/alex"),
        ("OLDPWD", "/home/alex/p"),
        ("MODEL", "claude-3-5-sonnet-20241022"),
        ("FOO_KEY", "PROJ"),
        ("SONARQUBE_PROJECT_KEY", "my-org_my-project"),
        ("AWS_REGION", "us-gov-west-1"),
        ("SUBSCRIPTION", "0d1f3a7c-88e2-4c51-9f1e-5b6c7d8e9f00"),
        ("COMMIT", "ca8cab9f1e5b6c7d8e9f000d1f3a7c88e24c51aa"),
        ("JIRA_USERNAME", "alex@example.com"),
        ("DATABASE_URL", "postgres://localhost:5432/x"),
        ("DATABASE_URL", "redis://default@localhost:6379/0"),
        ("REPO", "https://alex@dev.azure.com/org/_git/a"),
        ("REPO", "ssh://git@host/a"),
        ("IMAGE", "oci://ghcr.io/a/b:tag@sha256:00ff00ff"),
        ("URL", "https://h:8080/@scope/a?page=2&token_type=x"),
        ("PROMPT", "never print a bearer token or a password"),
        ("DEFAULT_PARAMETERS", "{\"include_images\": true, \"max_tokens\": 17}"),
        ("CONNECTION", "Server=db;Trusted_Connection=yes"),
        ("LIST", "task-force-1, risk-free-Trading-2000"),
        ("TEMPLATE", "Bearer ${TOKEN}"),
        ("KEYBOARD", "us"),
    ] {
        assert!(!is_secret(name, value), "{name}={value}: {:?}", credentials(value));
    }
}

fn found(text: &str) -> Vec<&str> {
    credentials(text).into_iter().map(|found| &text[found.range]).collect()
}

#[test]
fn the_credential_alone_is_found_in_its_text() {
    for (text, expected) in [
        ("postgres://me:se/same@db/x", "se/same"),
        ("Authorization: Bearer FAKEFAKE", "FAKEFAKE"),
        ("{\"Authorization\":\"Bearer abc.def\",\"a\":\"b\"}", "abc.def"),
        ("https://h/?a=b&apiKey=sesame&c=d", "sesame"),
        ("--header=X-Api-Key: sesame", "sesame"),
        ("see eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.sig-1_x.", "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.sig-1_x"),
        (
            "a -----BEGIN PRIVATE KEY-----\nx\n-----END PRIVATE KEY----- b",
            "-----BEGIN PRIVATE KEY-----\nx\n-----END PRIVATE KEY-----",
        ),
        ("${KEY:-ghp_FAKEFAKEFAKEFAKE0000}", "ghp_FAKEFAKEFAKEFAKE0000"),
        ("TFE_TOKEN=FAKE.atlasv1.FAKEFAKE", "FAKE.atlasv1.FAKEFAKE"),
    ] {
        assert_eq!(found(text), [expected], "{text}");
    }
    assert_eq!(found("PASSWORD=a1b2 https://u:p@h ghp_0123456789"), ["a1b2 https://u:p@h ghp_0123456789"]);
    assert_eq!(without_credentials("npx x https://u:sesame@h y"), "npx x https://u:[redacted]@h y");
    assert_eq!(without_credentials("nothing here"), "nothing here");
}

#[test]
fn everyday_values_blacken_nothing() {
    for value in [
        "true",
        "8085",
        "root",
        "admin",
        "",
        "abc",
        "localhost",
        "postgres",
        "127.0.0.1",
        "1.5",
        "stdio",
        "PASSWORD",
    ] {
        assert!(is_everyday(value), "{value}");
    }
    for value in
        ["hunter2", "123456", "s3cr", "correct horse", "tvly-FAKE", "sesame", "http://localhost:8080"]
    {
        assert!(!is_everyday(value), "{value}");
    }
}

#[test]
fn a_secret_has_parts() {
    assert_eq!(parts("plain"), ["plain"]);
    assert_eq!(parts("postgres://me:s%40same@db/x"), ["postgres://me:s%40same@db/x", "s%40same", "s@same"]);
    assert_eq!(parts("Bearer abc1"), ["Bearer abc1", "abc1"]);
}

fn arguments(line: &str) -> Vec<String> {
    let words = shlex::split(line).unwrap();
    let found = secret_arguments(&words);
    found.into_iter().map(|found| format!("{}: {}", found.what, &words[found.word][found.range])).collect()
}

#[test]
fn arguments_are_judged_with_what_stands_before_them() {
    for (line, expected) in [
        ("--api-key sesame", "the value of `--api-key`: sesame"),
        ("--access-token=sesame --host=x", "the value of `--access-token`: sesame"),
        ("-k hunter2", "the value of `-k`: hunter2"),
        ("--password root", "the value of `--password`: root"),
        ("--header 'Authorization: Bearer sesame'", "the text after `Bearer`: sesame"),
        ("-H X-Api-Key:sesame", "the value of `X-Api-Key`: sesame"),
        ("postgres://u:sesame@h", "the login in an address: sesame"),
        ("sk-hunter2hunter2hunter2", "a word among the arguments: sk-hunter2hunter2hunter2"),
        ("https://h/mcp?tavilyApiKey=tvly-FAKEFAKE", "the value of `tavilyApiKey`: tvly-FAKEFAKE"),
        ("--headers '{\"Authorization\":\"Bearer sesame\"}'", "the text after `Bearer`: sesame"),
    ] {
        assert_eq!(arguments(line), [expected], "{line}");
    }
    for line in [
        "--authentication azcli",
        "--auth-mode none",
        "--token-limit 5000",
        "--token-file /run/token",
        "--auth-server https://auth.example.com/token",
        "--use-token true --no-auth",
        "--key /certs/key.pem --max-tokens=4000 https://h:8080/@scope/a?page=2",
        "--token ${TOKEN} --header Authorization:${AUTH}",
        "--keyboard us --author alex --passthrough yes --cookie-policy strict",
        "--secret-name prod/db --secret-arn arn:aws:secretsmanager:eu-west-1:123456789012:secret:db-a1b2c3",
        "--credentials /home/alex/.config/x.json --pattern foo",
        "--metadata AWS_REGION=us-west-2 --version 1.2.3 --auth-type oauth2",
        "--context 'the token: it is a word, and the password= is not'",
    ] {
        assert!(arguments(line).is_empty(), "{line}: {:?}", arguments(line));
    }
}
