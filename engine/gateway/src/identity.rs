//! Who asks: account and region, from the request's credentials.
//!
//! Owns: what is demanded of credentials before anything is done. Never: how signatures are checked;
//! that is [`crate::sigv4`].

use std::cell::RefCell;
use std::sync::Arc;

use ::http::request::Parts;
use weir_protocol::model::Timestamp;
use weir_reactor::Reactor;

use crate::error::ServiceError;
use crate::sigv4::{self, Asked, Claim, Digest, KeyRing, SigningKeys};

/// The account and region that a request speaks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Identity {
    /// Twelve digits.
    pub(crate) account: String,
    /// For example `us-east-1`.
    pub(crate) region: String,
}

/// What is demanded of a request's credentials.
#[derive(Debug, Clone, Default)]
pub enum Authentication {
    /// Nothing. Account and region are taken from credentials if there are any.
    Off,
    /// They must be complete, as every SDK sends them. Nothing proves them.
    #[default]
    Presence,
    /// The signature must be one of a known key, and fresh.
    Verify {
        /// The known keys.
        ring: Arc<KeyRing>,
        /// The only region that credentials may name; any if it is `None`.
        region: Option<String>,
    },
}

/// Lets requests in, and says who they are of.
pub(crate) struct Gatekeeper {
    authentication: RefCell<Authentication>,
    signing_keys: SigningKeys,
    /// For what credentials do not say.
    default: Identity,
}

impl Gatekeeper {
    pub(crate) fn new(authentication: Authentication, default: Identity) -> Self {
        Self {
            authentication: RefCell::new(authentication),
            signing_keys: SigningKeys::default(),
            default,
        }
    }

    /// From now on these are the known keys. Changes nothing unless signatures are verified.
    pub(crate) fn replace_keys(&self, keys: Arc<KeyRing>) {
        if let Authentication::Verify { ring, .. } = &mut *self.authentication.borrow_mut() {
            *ring = keys;
            self.signing_keys.forget();
        }
    }

    /// Who asks; an error if the credentials do not do.
    pub(crate) async fn identify<R: Reactor>(
        &self,
        head: &Parts,
        body: &[u8],
        reactor: &R,
    ) -> Result<Identity, ServiceError> {
        let claim = Claim::read(&head.headers, &head.uri);
        if !matches!(*self.authentication.borrow(), Authentication::Verify { .. }) {
            return self.believe(claim);
        }
        let claim = claim?;
        let digest = Digest::of_body(body, reactor).await;
        // Looked at only now: while a long body was digested, the keys may have been replaced, and
        // a key that is gone must leave nothing behind.
        let Authentication::Verify { ring, region } = &*self.authentication.borrow() else {
            unreachable!("what is demanded does not change")
        };
        let asked = Asked {
            head,
            body: &digest,
            now: Timestamp::from_millis(reactor.wall_ms()),
            ring,
            signing_keys: &self.signing_keys,
            region: region.as_deref(),
        };
        sigv4::verify(&claim, asked)?;
        // All keys are of the account that is served.
        Ok(Identity {
            account: self.default.account.clone(),
            region: claim.names().1.to_owned(),
        })
    }

    /// Why a request is refused whatever its body is, if its head tells.
    pub(crate) fn refuses<R: Reactor>(&self, head: &Parts, reactor: &R) -> Option<ServiceError> {
        let authentication = &*self.authentication.borrow();
        if matches!(authentication, Authentication::Off) {
            return None;
        }
        let claim = match Claim::read(&head.headers, &head.uri) {
            Ok(claim) => claim,
            Err(error) => return Some(error),
        };
        let Authentication::Verify { ring, region } = authentication else {
            return None;
        };
        let now = Timestamp::from_millis(reactor.wall_ms());
        sigv4::check_head(&claim, now, ring, region.as_deref()).err()
    }

    /// Takes the credentials for what they say.
    fn believe(&self, claim: Result<Claim, ServiceError>) -> Result<Identity, ServiceError> {
        match (claim, &*self.authentication.borrow()) {
            (Ok(claim), _) => Ok(self.claimed(&claim)),
            (Err(_), Authentication::Off) => Ok(self.default.clone()),
            (Err(error), _) => Err(error),
        }
    }

    /// Whom the credentials name. What they do not say is the server's own: the account unless the
    /// access key id is a 12-digit number, the region unless the credential scope has one.
    fn claimed(&self, claim: &Claim) -> Identity {
        let (key, region) = claim.names();
        let account = sigv4::is_account(key);
        let account = if account { key } else { &self.default.account };
        let known = sigv4::is_region(region);
        Identity {
            account: account.to_owned(),
            region: if known { region } else { &self.default.region }.to_owned(),
        }
    }
}
