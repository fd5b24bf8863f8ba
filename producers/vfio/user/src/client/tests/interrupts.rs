use std::os::fd::AsFd;

use rustix::event::EventfdFlags;

use irqbroker_vfio_abi::Device;
use irqbroker_vfio_abi::Errno as Answer;
use irqbroker_vfio_abi::IrqAction;
use irqbroker_vfio_abi::IrqData;
use irqbroker_vfio_abi::IrqDataKind;
use irqbroker_vfio_abi::IrqSet;
use irqbroker_vfio_abi::IrqSetAnswer;

use crate::fake_device::FakeDevice;
use crate::server::ServerOptions;
use crate::testing::CountedFiles;

use super::super::*;
use super::Pair;
use super::pair;
use super::pair_with;

fn bind(client: &Client, start: u32, files: &[Option<OwnedFd>]) -> Result<IrqSetAnswer, Answer> {
    let fds: Vec<_> = files
        .iter()
        .map(|file| file.as_ref().map(AsFd::as_fd))
        .collect();
    client.set_irqs(&IrqSet::bind(IrqIndex::MSIX, start, &fds))
}

fn some(files: Vec<OwnedFd>) -> Vec<Option<OwnedFd>> {
    files.into_iter().map(Some).collect()
}

#[test]
fn eventfds_beyond_the_servers_number_are_bound_in_several_messages() {
    // What libvfio-user takes, and what the vfio_user crate does, and all at once.
    for (max_msg_fds, messages) in [(8, 9), (16, 5), (64, 1)] {
        let files = CountedFiles::new();
        let limits = Limits {
            max_msg_fds,
            ..Limits::default()
        };
        let server = ServerOptions {
            limits,
            ..ServerOptions::default()
        };
        let Pair {
            device,
            client,
            _thread,
        } = pair_with(server, ClientOptions::default());

        let answer = bind(&client, 0, &some(files.make(64)));

        assert_eq!(answer, Ok(IrqSetAnswer::Done));
        assert_eq!(device.bound().len(), 64);
        // The device counts vectors by its first request, so that one is for all.
        let sets = device.take_irq_sets();
        assert_eq!(sets.len(), messages);
        assert_eq!(sets[0].count, 64, "{max_msg_fds}");
        assert_eq!(files.open(), 64);
        client
            .set_irqs(&IrqSet::disable(IrqIndex::MSIX))
            .expect("disable");
        assert_eq!(device.bound(), []);
        assert_eq!(files.open(), 0);
    }
}

#[test]
fn bound_vectors_stay_bound_while_others_are_rebound() {
    let files = CountedFiles::new();
    let Pair {
        device,
        client,
        _thread,
    } = pair();
    bind(&client, 0, &some(files.make(8))).expect("bind");
    device.take_irq_sets();
    let mut rebind = some(files.make(3));
    rebind[1] = None;

    bind(&client, 2, &rebind).expect("rebind");

    let sets: Vec<_> = device
        .take_irq_sets()
        .iter()
        .map(|set| (set.start, set.count))
        .collect();
    assert_eq!(sets, [(2, 1), (3, 1), (4, 1)]);
    assert_eq!(device.bound().len(), 7);
}

#[test]
fn refused_bind_is_told_and_leaves_nothing_of_itself() {
    let files = CountedFiles::new();
    let Pair {
        device,
        client,
        _thread,
    } = pair();
    bind(&client, 0, &some(files.make(4))).expect("bind");

    let beyond = bind(&client, 250, &some(files.make(7)));
    // Enabled with four vectors, and not resizable.
    let later = bind(&client, 2, &some(files.make(4)));

    assert_eq!(beyond, Err(Answer::EINVAL));
    assert_eq!(later, Err(Answer::EINVAL));
    assert_eq!(device.bound(), [(IrqIndex::MSIX, 0), (IrqIndex::MSIX, 1)]);
    assert_eq!(files.open(), 2);
}

#[test]
fn chunks_before_a_refused_one_are_unbound_and_a_new_index_disabled() {
    let files = CountedFiles::new();
    let limits = Limits {
        max_msg_fds: 2,
        ..Limits::default()
    };
    let server = ServerOptions {
        limits,
        ..ServerOptions::default()
    };
    let Pair {
        device,
        client,
        _thread,
    } = pair_with(server, ClientOptions::default());
    let intx = files.make(1);
    client
        .set_irqs(&IrqSet::bind(IrqIndex::INTX, 0, &[Some(intx[0].as_fd())]))
        .expect("intx");

    // MSI-X cannot be enabled while INTx is.
    let refused = bind(&client, 0, &some(files.make(5)));
    client
        .set_irqs(&IrqSet::disable(IrqIndex::INTX))
        .expect("disable");
    let bound = bind(&client, 0, &some(files.make(5)));

    assert_eq!(refused, Err(Answer::EINVAL));
    assert_eq!(bound, Ok(IrqSetAnswer::Done));
    assert_eq!(device.bound().len(), 5);
}

#[test]
fn bind_that_is_refused_in_a_later_message_undoes_the_earlier_ones() {
    let files = CountedFiles::new();
    let limits = Limits {
        max_msg_fds: 2,
        ..Limits::default()
    };
    let server = ServerOptions {
        limits,
        ..ServerOptions::default()
    };
    let Pair {
        device,
        client,
        _thread,
    } = pair_with(server, ClientOptions::default());
    let intx = files.make(1);
    device.refuse(3);

    for count in [4, 5, 6] {
        let refused = bind(&client, 0, &some(files.make(count)));

        assert_eq!(refused, Err(Answer::ENOSPC));
        assert_eq!(device.bound(), []);
        assert_eq!(files.open(), 1);
    }
    // MSI-X is not enabled, or this would be refused.
    let other = client.set_irqs(&IrqSet::bind(IrqIndex::INTX, 0, &[Some(intx[0].as_fd())]));
    assert_eq!(other, Ok(IrqSetAnswer::Done));
}

#[test]
fn interrupts_do_not_go_through_the_socket() {
    let Pair {
        device,
        client,
        _thread,
    } = pair();
    let eventfd = rustix::event::eventfd(0, EventfdFlags::NONBLOCK).expect("an eventfd");
    client
        .set_irqs(&IrqSet::bind(
            FakeDevice::DISPLAY,
            1,
            &[Some(eventfd.as_fd())],
        ))
        .expect("bind");
    let _held = client.state();

    assert!(device.fire(FakeDevice::DISPLAY, 1));

    let mut count = [0; 8];
    assert_eq!(rustix::io::read(&eventfd, &mut count), Ok(8));
}

#[test]
fn bools_and_counts_go_through_as_they_are() {
    let files = CountedFiles::new();
    let Pair {
        device,
        client,
        _thread,
    } = pair();
    bind(&client, 0, &some(files.make(3))).expect("bind");
    device.take_irq_sets();
    let fire = |data| {
        client.set_irqs(&IrqSet {
            index: IrqIndex::MSIX,
            start: 0,
            action: IrqAction::Trigger,
            data,
        })
    };

    fire(IrqData::Bool(&[true, false, true])).expect("fire");
    fire(IrqData::None { count: 3 }).expect("fire");

    let kinds: Vec<_> = device.take_irq_sets().iter().map(|set| set.data).collect();
    assert_eq!(kinds, [IrqDataKind::Bool, IrqDataKind::None]);
}
