"""A machine that has its role goes on the network: with it, all of both roles is imported."""

from contextlib import ExitStack

from payload.connect.discovery import Discovery
from payload.connect.pairing import Listener
from payload.model.announcement import Announcement
from payload.model.message import PROTOCOL_VERSION
from payload.model.role import Role
from payload.session.context import Context
from payload.session.source import SourceSession
from payload.session.target import TargetSession


def open_session(context: Context, resources: ExitStack) -> SourceSession | TargetSession:
    """Our name on the wire, and the door open (source) or eyes open (target). `resources` closes
    what was opened. Raises SettingsError when the door's port is taken."""
    host, settings, monitor = context.host, context.settings, context.monitor
    credentials = context.site.credentials(context.own.machine.id)
    listener = None
    if context.own_decision.role is Role.SOURCE:
        listener = Listener(credentials, settings.port, monitor)
    key = context.site.announcement_key
    own = announcement(context)
    discovery = Discovery(host.links, host.mdns, own, key, settings, monitor)
    resources.callback(discovery.close)
    if listener is not None:
        return SourceSession(context, discovery, listener)
    return TargetSession(context, discovery, credentials)


def announcement(context: Context) -> Announcement:
    """What everybody on the wire may know."""
    reference = context.own.reference
    return Announcement(
        machine_id=reference.id,
        role=context.own_decision.role.value,
        name=reference.host_name or reference.label,
        port=context.settings.port,
        protocol=PROTOCOL_VERSION,
    )
