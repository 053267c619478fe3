//! The way to a daemon that may not run yet: after a boot, a client may start before the daemon.
//!
//! An [`Inquiry`], handed in, says whether the wait is worth it. It is asked only after a connection has failed.

use std::io::ErrorKind;
use std::time::Duration;

use tokio::time::Instant;

use super::again::Setback;
use super::inquiry::{Inquiry, Outlook};
use super::plan::DockerPlan;
use crate::dock::dial::{DialError, is_short_of_files};
use crate::dock::docker::DockerError;
use crate::dock::wire::Wire;
use crate::failure::{Code, Failure};
use crate::observe::trace::Trace;

/// A refused connection costs next to nothing, and some clients count in tenths of a second.
const AGAIN_AFTER: Duration = Duration::from_millis(100);
/// One try does not hold up the next look for longer; none before it was given up for being slow.
const TRIED_FOR: Duration = Duration::from_secs(2);
/// How often it is asked whether the wait is worth it.
const ASK_EVERY: Duration = Duration::from_millis(500);

/// Connects. A daemon that is about to start is waited for at a session's beginning; in its midst, recovery has a patience of
/// its own.
pub(super) async fn connect(plan: &DockerPlan, trace: &Trace, step: &'static str) -> Result<Wire, Setback> {
    let began = std::time::Instant::now();
    let wire = match (Wire::connect(&plan.endpoint).await, &plan.inquiry) {
        (Ok(wire), _) => wire,
        (Err(error @ DockerError::Dial(_)), Some(inquiry)) => {
            let waits = plan.is_first && is_absence(&error);
            let patience = if waits { plan.spec.server.settings.start_timeout } else { Duration::ZERO };
            let wire =
                outlast(inquiry, error, patience, async || Wire::connect(&plan.endpoint).await).await?;
            trace.step("wait for the DinD daemon", began, &plan.endpoint.to_string());
            wire
        }
        (Err(error), _) => return Err(error.into()),
    };
    trace.step(step, began, &plan.endpoint.to_string());
    Ok(wire)
}

/// Whether nobody has answered. What is wrong with a certificate stays wrong.
fn is_absence(error: &DockerError) -> bool {
    match error {
        DockerError::Dial(DialError::Connect { source, .. }) => {
            source.kind() != ErrorKind::InvalidData && !is_short_of_files(source)
        }
        DockerError::Dial(DialError::Timeout { .. }) => true,
        _ => false,
    }
}

/// Tries again while the outlook is good, and for no longer than `patience`; none asks for the reason alone.
async fn outlast<T>(
    inquiry: &Inquiry,
    error: DockerError,
    patience: Duration,
    connect: impl AsyncFn() -> Result<T, DockerError>,
) -> Result<T, Setback> {
    let began = Instant::now();
    let once = async || match tokio::time::timeout(TRIED_FOR, connect()).await {
        Ok(Err(error)) if is_absence(&error) => None,
        Ok(tried) => Some(tried.map_err(Setback::from)),
        Err(_) => None,
    };
    let turn = match inquiry.turn(&once).await {
        Ok(turn) => turn,
        Err(tried) => return tried,
    };
    loop {
        match turn.ask().await {
            Outlook::Hopeless(failure) => return Err(failure.into()),
            Outlook::Starting(_) if patience.is_zero() => return Err(error.into()),
            Outlook::Starting(what) if began.elapsed() >= patience => {
                return Err(late(&what, patience).into());
            }
            Outlook::Starting(what) => turn.tell(&what),
            // It may have come while that was asked.
            Outlook::Unknown => return once().await.unwrap_or_else(|| Err(error.into())),
        }
        let asked = Instant::now();
        while asked.elapsed() < ASK_EVERY {
            tokio::time::sleep(AGAIN_AFTER).await;
            if let Some(tried) = once().await {
                return tried;
            }
        }
    }
}

fn late(what: &str, patience: Duration) -> Failure {
    Failure {
        code: Code::Unavailable,
        text: format!("the DinD daemon did not answer within {patience:?}: {what}"),
        next: Some("look at it with `berth status`, or raise `start_timeout`".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::rc::Rc;

    use futures::future::LocalBoxFuture;

    use super::*;

    fn refused() -> DockerError {
        let source = ErrorKind::ConnectionRefused.into();
        DialError::Connect { endpoint: "tcp://127.0.0.1:1".into(), source }.into()
    }

    fn starting() -> Outlook {
        Outlook::Starting("it is still starting".to_owned())
    }

    fn hopeless() -> Outlook {
        Outlook::Hopeless(Failure { code: Code::Unavailable, text: "it dies".to_owned(), next: None })
    }

    /// Says one after another, and the last again and again; and how often it was asked.
    fn inquiry(outlooks: &[Outlook]) -> (Inquiry, Rc<Cell<usize>>) {
        let (outlooks, asked) = (outlooks.to_vec(), Rc::new(Cell::new(0)));
        let count = Rc::clone(&asked);
        let ask = move || -> LocalBoxFuture<'static, Outlook> {
            let at = count.replace(count.get() + 1);
            Box::pin(std::future::ready(outlooks[at.min(outlooks.len() - 1)].clone()))
        };
        (Inquiry::new(ask), asked)
    }

    const PATIENCE: Duration = Duration::from_secs(30);

    /// With a daemon that answers so long after the beginning; what came of it, and after how many milliseconds.
    async fn outlasted(
        inquiry: &Inquiry,
        patience: Duration,
        up_after: Duration,
    ) -> (Result<u128, Failure>, u128) {
        let began = Instant::now();
        let connect = async || {
            if began.elapsed() >= up_after { Ok(began.elapsed().as_millis()) } else { Err(refused()) }
        };
        let result = outlast(inquiry, refused(), patience, connect).await;
        (result.map_err(Failure::from), began.elapsed().as_millis())
    }

    #[tokio::test(start_paused = true)]
    async fn a_daemon_that_starts_is_waited_for() {
        let (inquiry, asked) = inquiry(&[starting()]);
        let (result, after) = outlasted(&inquiry, PATIENCE, Duration::from_secs(5)).await;
        assert!(result.is_ok() && (5000..5100).contains(&after), "{result:?} after {after} ms");
        assert!(asked.get() <= 11, "asked {} times", asked.get());
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_will_not_is_given_up_at_once_and_for_its_own_reason() {
        let never = Duration::MAX;
        let (result, after) = outlasted(&inquiry(&[hopeless()]).0, PATIENCE, never).await;
        assert_eq!((result.unwrap_err().text.as_str(), after), ("it dies", 0));
        let (result, after) = outlasted(&inquiry(&[starting(), hopeless()]).0, PATIENCE, never).await;
        assert_eq!((result.unwrap_err().text.as_str(), after), ("it dies", 500));
        let (result, after) = outlasted(&inquiry(&[Outlook::Unknown]).0, PATIENCE, never).await;
        assert!(result.unwrap_err().text.contains("tcp://127.0.0.1:1") && after == 0);
        let (result, _) = outlasted(&inquiry(&[Outlook::Unknown]).0, PATIENCE, Duration::ZERO).await;
        assert!(result.is_ok(), "it came while that was asked");
    }

    #[tokio::test(start_paused = true)]
    async fn patience_has_an_end_and_recovery_has_its_own() {
        let (result, after) = outlasted(&inquiry(&[starting()]).0, PATIENCE, Duration::MAX).await;
        let failure = result.unwrap_err();
        assert_eq!(failure.text, "the DinD daemon did not answer within 30s: it is still starting");
        assert_eq!(after, 30_000);
        let (result, after) = outlasted(&inquiry(&[starting()]).0, Duration::ZERO, Duration::MAX).await;
        assert!(result.unwrap_err().text.contains("tcp://127.0.0.1:1") && after == 0);
        let (result, _) = outlasted(&inquiry(&[hopeless()]).0, Duration::ZERO, Duration::MAX).await;
        assert_eq!(result.unwrap_err().text, "it dies");
    }

    #[tokio::test(start_paused = true)]
    async fn of_two_connections_one_asks() {
        let (inquiry, asked) = inquiry(&[starting()]);
        let up_after = Duration::from_millis(950);
        let wait = || outlasted(&inquiry, PATIENCE, up_after);
        let ((one, _), (other, after)) = tokio::join!(wait(), wait());
        assert!(one.is_ok() && other.is_ok() && after == 1000, "{one:?}, {other:?} after {after} ms");
        assert_eq!(asked.get(), 2);
    }

    #[test]
    fn a_wrong_certificate_is_nothing_to_wait_for() {
        let wrong = DialError::Connect { endpoint: "e".into(), source: ErrorKind::InvalidData.into() };
        assert!(is_absence(&refused()) && !is_absence(&wrong.into()));
    }
}
