//! The views of a device's heads, each a listener of its own.

use irqbroker_vfio_abi::Errno;
use irqbroker_vfio_abi::IrqIndex;

use crate::device::VgpuDevice;
use crate::device::bindings::Bindings;
use crate::device::bindings::Change;
use crate::device::bindings::DISPLAY;
use crate::device::gfx_user::GfxUser;
use crate::device::irq_request::IrqRequest;
use crate::device::state::Life;
use crate::device::state::State;
use crate::head_event::HeadEvent;
use crate::head_events::Listener;
use crate::instance::VgpuInstance;

/// A view's interrupt: its only one.
pub(crate) const VIEW_DISPLAY: IrqIndex = IrqIndex(0);

/// What a view has of its head.
#[derive(Debug)]
pub(crate) struct View {
    pub(crate) head: usize,
    /// Of the events of the one head.
    pub(crate) bindings: Bindings,
    pub(crate) gfx: GfxUser,
}

impl State {
    fn set_view_irqs(
        &mut self,
        instance: &VgpuInstance,
        place: usize,
        mut request: IrqRequest<'_>,
    ) -> Result<(), Errno> {
        let Some(Some(view)) = self.views.get_mut(place) else {
            return Err(Errno::ENODEV);
        };
        if request.header.index != VIEW_DISPLAY {
            return Err(Errno::EINVAL);
        }
        let head = view.head;
        request.header.index = DISPLAY;
        let mut changes = Vec::new();
        let answer = view.bindings.set(request, &mut changes);
        self.advance(instance, head);
        for change in changes {
            self.take_over_view(place, head, change);
        }
        answer
    }

    fn take_over_view(&mut self, place: usize, head: usize, change: Change) {
        let (Some(Some(view)), Some(state)) = (self.views.get(place), self.heads.get_mut(head))
        else {
            return;
        };
        let listener = Listener::View(place);
        match change {
            Change::DisplayOpened(sub_index, opened) => {
                let event = HeadEvent::ALL[sub_index];
                let owed = state.events.open(event, listener, opened);
                if owed && self.life == Life::Running {
                    view.bindings.signal_display(sub_index);
                }
            }
            Change::DisplayClosed(sub_index) => {
                state.events.close(HeadEvent::ALL[sub_index], listener);
            }
            // A view has no vectors.
            Change::VectorBound(_) | Change::VectorUnbound(_) => {}
        }
    }
}

impl VgpuDevice {
    /// Adds a view of a head that is there, and returns its place.
    pub(crate) fn add_view(&self, head: usize) -> usize {
        let view = View {
            head,
            bindings: Bindings::new(1, 0),
            gfx: GfxUser::default(),
        };
        let mut state = self.lock();
        let free = state.views.iter().position(Option::is_none);
        let place = free.unwrap_or(state.views.len());
        if free.is_none() {
            state.views.push(None);
        }
        state.views[place] = Some(view);
        place
    }

    pub(crate) fn remove_view(&self, place: usize) {
        let mut state = self.lock();
        let Some(view) = state.views.get_mut(place).and_then(Option::take) else {
            return;
        };
        if let Some(head) = state.heads.get_mut(view.head) {
            for event in HeadEvent::ALL {
                head.events.close(event, Listener::View(place));
            }
        }
        state.rearm(&self.instance, view.head);
    }

    pub(crate) fn set_view_irqs(&self, place: usize, request: IrqRequest<'_>) -> Result<(), Errno> {
        let mut state = self.lock();
        let answer = state.set_view_irqs(&self.instance, place, request);
        if let Some(Some(view)) = state.views.get(place) {
            let head = view.head;
            state.rearm(&self.instance, head);
        }
        answer
    }
}
