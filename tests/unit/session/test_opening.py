"""What a machine says of itself on the wire. (Which doors it opens: `test_engine`.)"""

from dataclasses import replace

import pytest

from payload.model.message import PROTOCOL_VERSION
from payload.model.role import Role
from payload.session.opening import announcement
from tests.support.meetings import SOURCE, TARGET, meeting


@pytest.mark.parametrize("role", [Role.SOURCE, Role.TARGET])
def test_a_machine_announces_its_role_and_where_it_answers(role: Role) -> None:
    own = SOURCE if role is Role.SOURCE else TARGET
    with meeting(role, (), port=4711) as context:
        said = announcement(context)
    assert (said.machine_id, said.role) == (own.machine.id, role.value)
    assert (said.port, said.protocol) == (4711, PROTOCOL_VERSION)


def test_a_server_is_known_by_its_name_and_a_blank_machine_by_its_make() -> None:
    with meeting(Role.SOURCE, ()) as context:
        assert announcement(context).name == "groupware"
        context.inventory = replace(SOURCE, systems=())
        assert announcement(context).name == SOURCE.machine.label
    with meeting(Role.TARGET, ()) as context:
        assert announcement(context).name == TARGET.machine.label
