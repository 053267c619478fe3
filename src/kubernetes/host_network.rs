//! A `pod_template` with `hostNetwork`, which puts pods on their node's own network: what a server cannot have there.
//!
//! No network policy is for such a pod, whatever its label says, and its loopback is everybody's on the node.

use mcp_berth::config::Server;
use mcp_berth::failure::{Code, Failure};
use mcp_berth::values::Network;

use super::template::Template;

/// Whether the server can be on the network that the template gives it. What is not kept from it there is said.
///
/// # Errors
/// What it asks for would not hold.
pub(crate) fn admit(server: &Server, template: Option<&Template>) -> Result<(), Failure> {
    if let Some(warning) = judge(server, template)? {
        tracing::warn!("{warning}");
    }
    Ok(())
}

fn judge(server: &Server, template: Option<&Template>) -> Result<Option<String>, Failure> {
    if !template.is_some_and(Template::is_on_the_nodes_network) {
        return Ok(None);
    }
    let name = &server.name;
    let (what, instead) = match (&server.settings.network, server.settings.has_ports()) {
        (_, true) => ("`host_services` and `publish`", "the ports from the server"),
        (Network::None, _) => ("`network = \"none\"`", "`network` from the server"),
        (Network::Allow(_), _) => ("a list of names", "the list from the server"),
        (Network::Egress | Network::Lan, false) => {
            return Ok(Some(format!(
                "the server `{name}` is on its node's own network, and no network policy holds for it: remove `hostNetwork` \
                 from the `pod_template`"
            )));
        }
    };
    Err(Failure {
        code: Code::Configuration,
        text: format!(
            "the server `{name}` cannot have {what} with the `pod_template`: its pod is on the node's own network, and no \
             network policy holds there"
        ),
        next: Some(format!("remove `hostNetwork` from the template, or {instead}")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake;

    fn judged(spec: &str, change: impl FnOnce(&mut Server)) -> Result<Option<String>, Failure> {
        let template = Template::parse(&format!("spec: {spec}")).unwrap();
        let mut server = Server::from_image("i".parse().unwrap(), Vec::new(), &fake::settings());
        change(&mut server);
        judge(&server, Some(&template))
    }

    #[test]
    fn what_the_nodes_network_would_void_is_refused_and_the_rest_is_told() {
        let network =
            |spec: &str, network: &str| judged(spec, |it| it.settings.network = network.parse().unwrap());
        let ports = |spec: &str| judged(spec, |it| it.settings.host_services = vec!["5432".parse().unwrap()]);
        let nodes = "{ hostNetwork: true }";
        let cases = [
            (network(nodes, "none"), "cannot have `network = \"none\"` with the `pod_template`"),
            (network(nodes, "allow=a.org"), "cannot have a list of names with the `pod_template`"),
            (ports(nodes), "cannot have `host_services` and `publish` with the `pod_template`"),
        ];
        for (judged, said) in cases {
            let failure = judged.unwrap_err();
            assert!(failure.text.contains(said), "{failure}");
            assert!(failure.next.unwrap().starts_with("remove `hostNetwork` from the template, or "));
        }
        for open in ["egress", "lan"] {
            let warning = network(nodes, open).unwrap().unwrap();
            assert!(warning.contains("no network policy holds for it"), "{warning}");
        }
        for own in ["{}", "{ hostNetwork: false }"] {
            let all = ["none", "allow=a.org", "egress", "lan"].map(|it| network(own, it));
            assert!(all.into_iter().chain([ports(own)]).all(|judged| judged == Ok(None)), "{own}");
        }
        let server = Server::from_image("i".parse().unwrap(), Vec::new(), &fake::settings());
        assert_eq!(judge(&server, None), Ok(None));
    }
}
