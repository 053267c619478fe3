//! `berth sbom`: lists the packages in a server's baked image.

use std::io::Write;
use std::process::ExitCode;

use crate::bake::cyclonedx::{self, Subject};
use crate::bake::{LABEL_PACKAGE_VERSION, packages};
use crate::cli::SbomArgs;
use crate::config::{Config, Home};
use crate::failure::{Code, Failure};

pub async fn run(args: &SbomArgs, config: &Config, home: &Home) -> anyhow::Result<ExitCode> {
    let server = config.server(&args.server)?;
    let name = &server.name;
    let failure = |code, text: String, next: String| Failure { code, text, next: Some(next) };
    if server.recipe.is_none() {
        let text = format!("`{name}` does not come from a package, so berth knows no list of its packages");
        let next = format!("look into its image with a scanner for images: `{}`", server.image);
        return Err(failure(Code::Usage, text, next).into());
    }
    let daemon = super::dind_engine(config, home)?;
    let found = daemon.image(&server.image).await.map_err(Failure::from)?;
    let Some(image) = found else {
        let text = format!("the package of `{name}` is not baked yet");
        return Err(failure(Code::Unavailable, text, format!("type `berth bake {name}`")).into());
    };
    let packages = packages::of_image(&daemon, &image.id).await.map_err(Failure::from)?;
    let subject = Subject {
        server: name,
        image: &server.image,
        id: &image.id,
        created: &image.created,
        version: image.labels.get(LABEL_PACKAGE_VERSION).map(String::as_str).unwrap_or_default(),
    };
    writeln!(std::io::stdout().lock(), "{:#}", cyclonedx::document(&subject, &packages))?;
    Ok(ExitCode::SUCCESS)
}
