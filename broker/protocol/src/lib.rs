//! The control socket of the irqbroker daemon: messages, fd passing, blocking client.
//!
//! One `SOCK_SEQPACKET` packet is one message: a JSON object, and the eventfds it speaks of as
//! `SCM_RIGHTS`. `design/control-protocol.md` is the contract; the types here are it in Rust.
//!
//! ```text
//!  request   {"id":7,"type":"register-producer","body":{...}}   + fds    client ► daemon
//!  response  {"id":7,"ok":{...}}  or  {"id":7,"error":{...}}     + fds    client ◄ daemon
//!  notice    {"notice":"attach","body":{...}}                   + fds    client ◄ daemon
//! ```
//!
//! [`Connection`] frames packets on a socket, [`Client`] asks and waits for the answer.
#![forbid(unsafe_code)]

mod batch;
mod client;
mod code;
mod connection;
mod delivery;
mod event;
mod fds;
mod frame;
mod hello;
mod instruction;
mod json;
mod limits;
mod link_row;
mod name;
mod notice;
mod object;
mod operator;
mod reply;
mod request;
mod scope;
mod strict;
mod unread;
mod vgpu;

pub use batch::Batch;
pub use batch::BatchDone;
pub use client::Client;
pub use client::ClientError;
pub use client::Reply;
pub use code::ErrorCode;
pub use code::MAX_ERROR_TEXT;
pub use code::WireError;
pub use connection::Connection;
pub use connection::Packet;
pub use connection::ReceiveError;
pub use connection::SendError;
pub use delivery::Delivery;
pub use delivery::Message;
pub use delivery::PathPolicy;
pub use delivery::Reason;
pub use delivery::ReasonCode;
pub use delivery::Route;
pub use delivery::State;
pub use event::Event;
pub use event::EventKind;
pub use fds::FdCount;
pub use frame::AnswerBody;
pub use frame::ClientFrame;
pub use frame::RequestFrame;
pub use frame::ServerFrame;
pub use hello::Feature;
pub use hello::Hello;
pub use hello::VERSION;
pub use hello::Welcome;
pub use instruction::Answer;
pub use instruction::Attach;
pub use instruction::Detach;
pub use instruction::InstructionId;
pub use instruction::Outcome;
pub use instruction::Switch;
pub use limits::Limits;
pub use limits::MAX_FDS;
pub use limits::MAX_MESSAGE;
pub use link_row::LinkRow;
pub use name::Name;
pub use name::NameError;
pub use notice::Closing;
pub use notice::Hint;
pub use notice::MaskSource;
pub use notice::MessageChanged;
pub use notice::Notice;
pub use notice::Paired;
pub use object::ConsumerReport;
pub use object::ConsumerTakes;
pub use object::Masking;
pub use object::ProducerSwitch;
pub use object::RegisterConsumer;
pub use object::RegisterProducer;
pub use object::Registered;
pub use object::Side;
pub use object::Trigger;
pub use object::Unregister;
pub use operator::Cause;
pub use operator::Counts;
pub use operator::Explain;
pub use operator::Explanation;
pub use operator::Links;
pub use operator::ListLinks;
pub use operator::SetPath;
pub use operator::Status;
pub use reply::Done;
pub use request::Request;
pub use scope::Scope;
pub use unread::UnreadInstruction;
pub use vgpu::CreateVgpu;
pub use vgpu::DestroyVgpu;
pub use vgpu::VgpuRoom;
pub use vgpu::VgpuRow;
pub use vgpu::VgpuState;
pub use vgpu::Vgpus;
