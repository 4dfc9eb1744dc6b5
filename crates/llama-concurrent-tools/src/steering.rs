//! stub
/// Stub.
pub struct Special;
/// Stub.
pub struct Steering;
/// Stub.
pub struct SteeringError;
/// Stub.
pub struct SteeringOptions;
/// Stub.
pub struct Trigger;
