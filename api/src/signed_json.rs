//! A JSON body whose signature covers its raw bytes: nothing of it is parsed before the signature was right.

use std::fmt;
use std::marker::PhantomData;

use poem::{FromRequest, Request, RequestBody};
use poem_openapi::impl_apirequest_for_payload;
use poem_openapi::payload::{ParsePayload, Payload};
use poem_openapi::registry::{MetaSchemaRef, Registry};
use poem_openapi::types::{ParseFromJSON, Type};

use crate::error::{ApiError, Code};

/// The bytes as they arrived, not yet trusted. The document shows `T`.
pub struct SignedJson<T> {
    bytes: Vec<u8>,
    shape: PhantomData<T>,
}

/// The bytes of a body whose signature was right.
pub struct VerifiedJson {
    bytes: Vec<u8>,
}

impl<T: ParseFromJSON> SignedJson<T> {
    /// Asks `is_right` about the raw bytes; 401 `invalid_signature` when it says no.
    pub fn verified(self, is_right: impl FnOnce(&[u8]) -> bool) -> Result<VerifiedJson, ApiError> {
        if is_right(&self.bytes) {
            Ok(VerifiedJson { bytes: self.bytes })
        } else {
            Err(ApiError::of(Code::InvalidSignature))
        }
    }
}

impl VerifiedJson {
    /// What was signed.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}

impl<T> fmt::Debug for SignedJson<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SignedJson({} bytes)", self.bytes.len())
    }
}

impl fmt::Debug for VerifiedJson {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VerifiedJson({} bytes)", self.bytes.len())
    }
}

impl<T: Type> Payload for SignedJson<T> {
    const CONTENT_TYPE: &'static str = "application/json";

    fn check_content_type(_: &str) -> bool {
        // The signature decides, not a header outside it.
        true
    }

    fn schema_ref() -> MetaSchemaRef {
        T::schema_ref()
    }

    fn register(registry: &mut Registry) {
        T::register(registry);
    }
}

impl<T: Send> ParsePayload for SignedJson<T>
where
    Self: Payload,
{
    const IS_REQUIRED: bool = true;

    async fn from_request(request: &Request, body: &mut RequestBody) -> poem::Result<Self> {
        Ok(Self {
            bytes: Vec::<u8>::from_request(request, body).await?,
            shape: PhantomData,
        })
    }
}

impl_apirequest_for_payload!(SignedJson<T>, T: ParseFromJSON);
