"""The actions of each data form. A kind has one name in all of them, whatever a file calls it.

`scroll` names the way the view moves, as AndroidControl does (down: what is below comes into view); `swipe` the way the
finger moves, as GUI-Odyssey does (up: the same). Nothing else tells them apart, so a form has one or the other.
"""

from vlmrl.answers.action import ActionKind, ActionSpace, Argument

CLICK = ActionKind("click", Argument.POINT)
LONG_PRESS = ActionKind("long_press", Argument.POINT)
DOUBLE_CLICK = ActionKind("double_click", Argument.POINT)
RIGHT_CLICK = ActionKind("right_click", Argument.POINT)
MOVE_TO = ActionKind("move_to", Argument.POINT)
TYPE = ActionKind("type", Argument.TEXT)
SELECT = ActionKind("select", Argument.TEXT)
OPEN_APP = ActionKind("open_app", Argument.TEXT)
ANSWER = ActionKind("answer", Argument.TEXT)
SCROLL = ActionKind("scroll", Argument.DIRECTION)
SWIPE = ActionKind("swipe", Argument.DIRECTION)
WAIT = ActionKind("wait")
CLOSE = ActionKind("close")
FINISH = ActionKind("finish", Argument.TEXT, ("success", "failure"))


def press_key(*keys: str) -> ActionKind:
    """The key press of a form that has these keys."""
    return ActionKind("press_key", Argument.TEXT, keys)


ANDROID_CONTROL = ActionSpace(
    "android_control", (CLICK, LONG_PRESS, TYPE, SCROLL, OPEN_APP, press_key("back", "home"), WAIT)
)
UI_R1 = ActionSpace(
    "ui_r1", (CLICK, ActionKind("open_app"), ActionKind("scroll"), press_key("back"), ActionKind("type"))
)
"""UI-R1's training rows record no text and no direction, and its answers have none."""
GUI_R1_HIGH = ActionSpace(
    "gui_r1_high", (FINISH, CLOSE, press_key("home", "back", "enter"), CLICK, TYPE, SELECT, SCROLL)
)
GUI_R1_LOW = ActionSpace("gui_r1_low", (CLICK,))
GUI_R1_TEST = ActionSpace(
    "gui_r1_test",
    (
        CLICK,
        LONG_PRESS,
        DOUBLE_CLICK,
        RIGHT_CLICK,
        MOVE_TO,
        TYPE,
        SELECT,
        OPEN_APP,
        SCROLL,
        press_key("back", "home", "recent", "enter"),
        WAIT,
        CLOSE,
        FINISH,
    ),
)
"""The actions of all of GUI-R1's test files together; which file a row is from does not show in its fields."""
GUI_ODYSSEY = ActionSpace("gui_odyssey", (CLICK, LONG_PRESS, TYPE, SWIPE, press_key("back", "home", "recent"), FINISH))
GENERAL = ActionSpace(
    "general",
    (
        CLICK,
        LONG_PRESS,
        DOUBLE_CLICK,
        TYPE,
        SCROLL,
        SWIPE,
        OPEN_APP,
        press_key("back", "home", "enter", "recent"),
        WAIT,
        ANSWER,
        FINISH,
    ),
)
"""What a row of the `simple` form may use; the row's `actions` name those that it allows."""
DRAWN = ActionSpace("drawn", (CLICK, TYPE, SCROLL, OPEN_APP, press_key("back", "home")))
