# SPDX-License-Identifier: Apache-2.0
"""The wheel carries other people's libraries, so it carries their licences: of each package that
auditwheel's own list of components names.
"""

import json
import zipfile


def test_the_wheel_holds_the_licence_of_all_that_it_carries(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        (bill,) = [name for name in names if name.endswith("sboms/auditwheel.cdx.json")]
        components = {part["name"] for part in json.loads(archive.read(bill))["components"]}
    texts = {name.split(".dist-info/licenses/")[1] for name in names if "/licenses/" in name}
    assert {"LICENSE", "NOTICE", "THIRD_PARTY.md"} <= texts
    assert "libgrpc29" in components
    carried = (components - {"kvgate"}) | {"libstdc++6"}
    assert carried == {
        name[len("licenses/") : -len(".txt")] for name in texts if name.endswith(".txt")
    }
