"""Many ways to put each question, written as small grammars: `(a|b|)` is one of these, or nothing.

Together with the lists of `wordings.py` they are what training asks. A phrase that is within one word of a wording that only the evaluation uses
is thrown away (`composed`), so that the evaluation stays a test of words never seen.
"""

import functools
import re

_SAY = "(Tell me|Let me know|I want to know|I need to know|Say|I'd like to know|Find out)"
_GIVE = "(Give me|I need|Show|Print|Get|Find|Look up|Output|Fetch)"
_POLITE = "(Could|Would) you"
_HERE = "(|here|on this screen|on the screen|in this window|in this screenshot|in the picture|right now)"
_COLOUR = "(colour|color)"
_BOX = "(box|checkbox|option|setting|entry)"
_BOXES = "(boxes|checkboxes|options|settings|entries)"

_GRAMMAR: dict[str, tuple[str, ...]] = {
    "title": (
        f"(What|Which words|Which name) (stands|is shown|is displayed|appears) (at the top|in the title bar|in the header|in the caption|on top) {_HERE}?",
        f"{_SAY} what (the window|this window|the dialog|it) is called.",
        f"{_SAY} (the name of the window|the window's title|the caption|the heading|the headline).",
        f"{_GIVE} (the title|the window title|the heading|the caption|the name of this window|the title text).",
        f"{_POLITE} (read|read out|tell me|give me) the (title|heading|caption|window title|headline)?",
        "What (name|caption|heading|headline|label) does (the window|this window|the dialog|this dialog|it|the form|the page) (have|carry|show|bear)?",
        "How is (this|this window|this dialog|the dialog|it) (called|named|titled|labelled)?",
        "What's (the heading|the header|the caption|the headline|the top line|written at the top|at the top|this called|the title of this)?",
        "(Window title|Title text|Heading|Caption|Header|Title of the dialog|Title of this window|Name of the window)?",
        "(Read|Quote|Copy|Write down|Extract|Spell) the (heading|caption|title text|window title|title bar|title of this window|header).",
        "(Under what|By what|What) name does (this|the) (window|dialog|program) go?",
    ),
    "message": (
        f"(What|Which text|Which sentence|What sentence|What text) (stands|is|is written|is displayed|appears) in the (dialog|message|message box|body|popup|alert|box) {_HERE}?",
        f"{_SAY} what (the popup|the alert|the message|the message box|the notice|this dialog|it) (says|wants|tells the user|reads).",
        f"{_SAY} the (message|text of the message|words of the dialog|error text|warning text|notice).",
        f"{_GIVE} the (message|message text|dialog text|text of the dialog|error message|warning|notice|body text).",
        f"{_POLITE} (read|read out|tell me|quote|give me) the (message|dialog text|warning|error message|notice)?",
        "What (message|notice|sentence|text) (does it show|does this dialog show|does it have|do I get|pops up|am I shown|came up|is there)?",
        "What (is|does) the (popup|alert|notice|box|prompt) (say|tell the user|read|state)?",
        "What's (the message text|the dialog saying|it saying|the popup saying|the warning|the notice|written in the dialog|the problem|wrong|the question|the info)?",
        "(Message text|Dialog text|Error text|Warning text|Error message|The message|Notice|Body text)?",
        "(Quote|Copy|Write down|Extract|Repeat|Spell) the (message|dialog text|text of the message|error message|warning|notice).",
        "(What|Which) (warning|error|question|hint|information) (does it give|is given|is displayed|do I see|do you see)?",
        "What is the (user|reader) (told|asked|informed about)?",
    ),
    "dialog_kind": (
        f"{_SAY} (what|which) (kind|type|sort) of (dialog|message|popup|alert) (this is|it is).",
        "(What|Which) (severity|category|class|kind) (does|has) (the|this) (message|dialog) (have|got)?",
        "(Error, warning, info or question|Warning, error, question or info|Is it a question, an error, a warning or an info)?",
        "(What|Which) (kind|sort|type) of (popup|alert|notice|icon|symbol|sign) (is this|is it|is that|is there|do you see|is displayed)?",
        "(What|Which) (symbol|icon|sign) (stands|is|appears) (next to|beside|left of) the (message|text)?",
        "(Dialog type|Message type|Type of message|Severity|Message kind|Alert type|Kind of message)?",
        "(Classify|Categorise|Name the type of) (the|this) (dialog|message|popup|alert).",
        "(What|Which) does the (icon|symbol) (stand for|say|tell|indicate)?",
        "(How serious|How severe) is (the message|this message|it)?",
    ),
    "title_colour": (
        f"(What|Which) {_COLOUR} (does|has) (the|this) (header|title bar|top bar|window's title bar|caption bar) (have|got)?",
        f"{_SAY} (what|which) {_COLOUR} (the title bar|the header|the top bar) (is|has).",
        "(How|In what colour) is the (title bar|header|top bar|bar at the top) (coloured|colored|painted|drawn|filled)?",
        f"{_GIVE} the {_COLOUR} of the (title bar|header|top bar|caption).",
        f"{_COLOUR} of the (header|top bar|caption|window's title)?",
        f"What's the (header|top bar|caption)'s {_COLOUR}?",
        f"(Name|State) the {_COLOUR} of the (title bar|header|top bar).",
        "Is the (title bar|header) (red, green, blue or something else|blue, green, red or another colour)?",
    ),
    "percent": (
        f"How much (progress|of it|of the work|of the task) (has been made|is finished|has been done|is ready|is through) (|so far|already|by now)?",
        f"(What|Which) (number|figure|value|percentage|percent value) (stands|is|is written|is displayed|appears) (next to|on|beside|at|in|above) the (bar|progress bar)?",
        "(How complete|How finished|How far done|How advanced|How ready) is (it|this|the task|the download|the process|the job|the update)?",
        "(To|Up to) (what|which) (percentage|percent) is (it|the bar|the progress bar|the task) (done|complete|finished|filled|full)?",
        f"{_SAY} (the percentage|how many percent are done|how much is done|how complete it is|the progress|what percentage is reached|how full the bar is).",
        f"{_GIVE} the (percentage|progress|progress value|percent|number on the bar|current percentage).",
        f"{_POLITE} (read|tell me|give me) the (percentage|progress|percent value|current progress)?",
        "(What|Which) percent (is it at|are we at|is reached|has it reached|is complete|is loaded|do you see|does the bar show|is this)?",
        "(Percent|Percentage|Percentage done|Current progress|Progress in percent|Percent complete|Progress value|Progress bar value|How many percent|How much)?",
        "(Read|Quote|Extract|State|Write down) the (percentage|percent|percent value|number on the progress bar|progress).",
        "How (much|many percent) (is loaded|has been loaded|of the bar is filled|is filled|have been completed|are complete|are reached|are there|do you see)?",
        "(What|Which) (share|part|fraction) (is done|of it is done|is complete|of the work is done)?",
        "What's (the percentage|the current progress|the percent value|the status of the progress bar|the progress bar at|the number on the bar)?",
        "What (does the progress bar say|is the progress in percent|percentage has been reached|percentage do you see|progress has been made)?",
    ),
    "where_progress": (
        f"{_SAY} where (the progress bar is|I find the progress bar|the bar is).",
        "(On which side|In what area|In which region|In what part) (of the screen|of the picture|of the image|) is the progress bar?",
        "(Find|Point to|Point at|Show me|Look for) the progress bar.",
        "(Position|Location|Place) of the progress bar?",
        "(What|Which) is the (location|place) of the progress bar?",
        f"{_POLITE} (locate|find|point at|show me) the progress bar?",
        "(Whereabouts|Where exactly|Where on the screen) is the progress bar?",
    ),
    "progress_colour": (
        f"{_SAY} (what|which) {_COLOUR} the (progress bar|bar|filled part) (is|has).",
        f"(What|Which) {_COLOUR} (is|has) the (filled part|full part|done part) of the (bar|progress bar)?",
        f"(How|In what colour|In which color) is the progress bar (drawn|filled|painted|shown)?",
        f"{_GIVE} the {_COLOUR} of the (progress bar|bar).",
        f"{_COLOUR} of the (progress|progress bar|bar)?",
        f"(Name|State) the {_COLOUR} of the progress bar.",
    ),
    "buttons": (
        f"{_SAY} (which|what) buttons (there are|it has|I can press|are on the screen|the window has|I have).",
        f"{_SAY} (the names of the buttons|the labels of all buttons|what the buttons are called).",
        f"{_GIVE} (the buttons|all buttons|a list of the buttons|the button labels|the names of all buttons|every button).",
        f"(What|Which) buttons (are|appear|exist|are visible|are displayed|are available|are on offer) {_HERE}?",
        "(What|Which) (choices|actions|possibilities) (are there|do I have|does it offer|are offered|can I choose from|are available|do the buttons give me)?",
        "(What|Which) (labels|names|texts|words) (are on|do|stand on) the buttons (|have|show)?",
        f"{_POLITE} (list|name|read|read out|enumerate) (the|all|all the) buttons?",
        "(Enumerate|Print|Write down|Extract|Read out|Show|Mention) (the|all|all the|all of the) (buttons|button labels|button names).",
        "(Button labels|Buttons on the screen|All buttons|Names of the buttons|Button names|Available buttons)?",
        "What can I (press|click|click on|choose|push|tap|do) (|here)?",
        "How are the buttons (called|named|labelled)?",
    ),
    "highlighted": (
        f"{_SAY} which button (is the default|stands out|is selected|is active|is coloured|would be pressed by Enter).",
        "(What|Which) (button|one of the buttons) (is active|is marked|is emphasised|is coloured|is focused|is filled|is preselected|is the main one|gets pressed by Enter|would Enter press|has a different colour)?",
        f"{_GIVE} the (default button|highlighted button|primary button|main button|active button).",
        "(Primary button|Highlighted button|Main button|Active button|Focused button|Preselected button)?",
        "(What|Which) is the (main|active|focused|emphasised|marked|recommended|suggested) (button|choice|action)?",
        "(Name|Read|Find) the (default|highlighted|primary|main|active) button.",
        "(Which|What) (action|choice|option) is (highlighted|preselected|the default|suggested|recommended)?",
        f"{_POLITE} (name|read|tell me) the (highlighted|default|primary) button?",
    ),
    "button_colour": (
        f"{_SAY} (what|which) {_COLOUR} the (highlighted|default|primary|main|active) button (is|has).",
        f"(What|Which) {_COLOUR} (is|has) the (highlighted|default|active|main|marked|focused) button?",
        f"{_GIVE} the {_COLOUR} of the (highlighted|default|primary|main) button.",
        f"(Highlighted|Default|Primary|Main) button {_COLOUR}?",
        f"{_COLOUR} of the (highlighted|default|primary|main|active) button?",
        "(How|In what colour) is the (default|primary|main|highlighted) button (drawn|painted|filled|coloured)?",
    ),
    "where_button": (
        f"{_SAY} where (the '{{}}' button is|'{{}}' is|I can click '{{}}'|to click for '{{}}').",
        "(In what area|In which region|On which side|In what part) (|of the screen|of the picture|of the window) is (the '{}' button|'{}'|the button '{}')?",
        "(Find|Point to|Point at|Show me|Look for|Locate) (the '{}' button|'{}'|the button '{}'|the button called '{}').",
        "(Position|Location|Place) of (the '{}' button|'{}'|the button '{}')?",
        "(Whereabouts|Where exactly|Where on the screen) is (the '{}' button|'{}'|the button '{}')?",
        "Where (must|should|can|would) I (press|click|tap|go) (to press|to hit|for|to get to|to reach) '{}'?",
        f"{_POLITE} (locate|find|point at|show me) (the '{{}}' button|'{{}}')?",
        "(What|Which) is the (location|place) of (the '{}' button|'{}')?",
        "How do I (get to|reach|find) (the '{}' button|'{}')?",
    ),
    "exists_button": (
        f"{_SAY} (whether|if) (there is a '{{}}' button|a '{{}}' button exists|'{{}}' is among the buttons|I can click '{{}}'|it has '{{}}'|you see a '{{}}' button).",
        "(Is|Isn't) '{}' (one of|among|listed among|part of) the (buttons|choices|options)?",
        "(Has|Have) (this dialog|this window|the window|it|the dialog|we) (got|) (a '{}' button|a button '{}'|a button that says '{}')?",
        "(Is it possible|Would it be possible|Am I able|Is there a way) to (click|press|choose|hit|push|click on|select) '{}' (|here)?",
        "(Could|May|Might) (I|one|we|the user) (click|choose|hit|push|select|tap|use|pick) '{}' (|here)?",
        "Can (I|one|we|you|the user) (choose|hit|push|tap|select|click on|use|pick|go for) '{}' (|here)?",
        "Can '{}' be (clicked|pressed|chosen|hit|selected)?",
        "(Any|Is there maybe a|Would there be a|Does there exist a|Do we have a|Do I have a) '{}' button (|here|on this screen|on the screen|in this window)?",
        "(Is there|Do you see|Can you find|Do you find|Does it show|Does it show me|Do I have) (a button that says|a button with the text|a button with the label|a button labelled|something called|a choice|an option) '{}'?",
        "(Do|Does) (the buttons|any of the buttons|one of the buttons|the window|this window|this dialog|the form) (include|say|show|read|contain|have) '{}'?",
        "Does (a|the) '{}' button (exist|appear|show up|occur) (|here|on this screen|on the screen)?",
        "('{}' button present|Button '{}' there|'{}' button|'{}' available|'{}' button, yes or no|Button '{}')?",
        "(Check|Look|See|Verify) (if|whether) (there is a '{}' button|a '{}' button exists|'{}' can be clicked).",
        "There is (a '{}' button|a button '{}'), (right|isn't there|correct)?",
        "Is (a|the) (button|choice|option) '{}' (available|offered|visible|present|shown|on the screen)?",
        "Is '{}' (a button|available|offered|on offer|visible|present|a choice|clickable|an option) (|here)?",
        "(Will|Would) I find (a '{}' button|'{}') (|here|on this screen)?",
    ),
    "count_buttons": (
        f"{_SAY} how many buttons (there are|it has|you see|are on the screen|I can press).",
        f"(What|Which) is the (count|amount|total) of buttons?",
        "How many buttons (exist|are visible|are on the screen|are displayed|appear|do we have|do I have|are in the window|does this dialog offer|does the dialog contain|could I click)?",
        f"{_GIVE} the (number|count) of buttons.",
        f"{_POLITE} count the buttons?",
        "(Button count|Amount of buttons|Count of buttons|Total buttons|Number of buttons on the screen)?",
    ),
    "no_buttons": (
        f"{_SAY} (which|what) buttons (there are|it has|I can press).",
        f"{_GIVE} (the buttons|all buttons|a list of the buttons|the button labels).",
        "(What|Which) buttons (are visible|are displayed|are available|exist|appear)?",
        f"{_POLITE} (list|name|read) (the|all) buttons?",
        "(Button labels|All buttons|Highlighted button|Primary button|Available buttons)?",
        "(What|Which) button (is active|is marked|is coloured|is focused|stands out)?",
    ),
    "ticked": (
        f"{_SAY} (whether|if) (the '{{}}' {_BOX} is ticked|'{{}}' is ticked|'{{}}' is checked|'{{}}' is on|'{{}}' is set|'{{}}' is selected).",
        "Has (someone|somebody|the user|anyone) (ticked|checked|selected|chosen|activated|marked) '{}'?",
        f"Is (the|that) '{{}}' {_BOX} (on|ticked|checked|set|selected|active|marked|activated|crossed)?",
        "Is '{}' (set|marked|activated|chosen|ticked or not|on or off|ticked off|crossed|filled in|in use)?",
        "(Is there|Do you see|Can you see) a (tick|check|check mark|cross|mark) (next to|in front of|beside|before|by|left of) '{}'?",
        "(State of|Status of|What is the state of) (the '{}' box|'{}'|the checkbox '{}') (|, yes or no)?",
        "Does '{}' (show|carry) a (tick|check mark|mark)?",
        "(Check|Look|See|Verify) (if|whether) '{}' is (ticked|checked|on|selected|activated).",
        "('{}' ticked|'{}' checked|'{}' on|'{}' selected|'{}' on or off)?",
        "Has '{}' been (checked|selected|activated|chosen|marked)?",
    ),
    "which_ticked": (
        f"{_SAY} (which|what) {_BOXES} are (ticked|checked|on|selected|set|active|marked).",
        f"(What|Which) {_BOXES} (are|have been) (set|active|activated|marked|chosen|ticked off|selected|checked|crossed) (|here)?",
        f"{_GIVE} (the|all) (ticked|checked|selected|active|activated) {_BOXES}.",
        f"(List|Name|Read|Enumerate|Read out) (the|all|all the) (ticked|checked|selected|active|activated|marked) {_BOXES}.",
        f"(Ticked|Checked|Selected|Active|Activated) {_BOXES}?",
        "Which ones are (on|active|activated|set|marked|chosen|selected) (|here)?",
        f"{_POLITE} (list|name|read) the (ticked|checked|selected|active) {_BOXES}?",
        "At which of them is (a|the) (tick|check mark|mark) set?",
        "What has been (ticked|checked|selected|chosen|activated|turned on)?",
    ),
    "count_ticked": (
        f"{_SAY} how many {_BOXES} are (ticked|on|selected|set|active|marked|activated).",
        f"How many {_BOXES} (are|have been) (set|active|activated|marked|chosen|ticked off|turned on|crossed|selected|ticked) (|here)?",
        f"How many of the {_BOXES} are (ticked|checked|on|selected|active|set|activated)?",
        f"{_GIVE} the (number|count) of (ticked|checked|selected|active) {_BOXES}.",
        f"(Count|Count up) the (checked|selected|active|activated|marked) {_BOXES}.",
        f"(Number|Count|Amount) of (ticked|selected|active|activated|marked) {_BOXES}?",
        "How many (check marks|marks|checks|crosses) (do you see|are set|are visible|can be seen|do I see)?",
        f"(What|Which) is the number of (ticked|checked|selected|active) {_BOXES}?",
        "How many (of them|of these) are (ticked|checked|on|selected|active|set)?",
    ),
    "count_boxes": (
        "How many (checkboxes|tick boxes|check boxes|boxes|options|settings) (exist|are visible|are on the screen|are displayed|appear|do we have|do I have|are in the window|does it have|can be ticked|can be set)?",
        f"{_SAY} how many (checkboxes|boxes|tick boxes|options) (there are|it has|you see|are on the screen).",
        f"{_GIVE} the (number|count) of (boxes|check boxes|tick boxes|options).",
        f"{_POLITE} count the (checkboxes|boxes|options)?",
        "(Checkbox count|Amount of boxes|Count of checkboxes|Total checkboxes|Number of boxes|Number of options)?",
        "(What|Which) is the (count|amount|total) of (checkboxes|boxes|options)?",
    ),
    "field_value": (
        f"{_SAY} (what stands in '{{}}'|the value of '{{}}'|what the '{{}}' is|what was typed into '{{}}'|what the '{{}}' field holds).",
        f"{_GIVE} (the '{{}}'|the value of '{{}}'|the '{{}}' value|the contents of '{{}}'|the content of the '{{}}' field|the text of '{{}}').",
        "(What|Which text|Which value) (stands|is shown|is displayed|appears|was entered|was typed|has been typed|is filled in|is set) (in|at|next to|for|under) (the '{}' field|'{}'|the field '{}'|the '{}' box)?",
        "(What|Which) (value|text|content|entry) does (the '{}' field|the field '{}'|'{}') (hold|show|have|carry)?",
        f"{_POLITE} (read|tell me|give me|read out) (the '{{}}'|the '{{}}' field|the value of '{{}}'|what is in '{{}}')?",
        "(Read|Quote|Copy|Extract|Write down|Spell|Print) (the '{}'|'{}'|the field '{}'|the value of '{}'|the contents of '{}'|the entry for '{}').",
        "('{}' value|'{}' field|Contents of '{}'|Content of the '{}' field|Text in '{}'|Value for '{}'|Entry for '{}')?",
        "What's (the '{}'|the value in '{}'|the '{}' set to|'{}' set to|typed in '{}'|the entry for '{}'|the content of '{}')?",
        "(To what|What) is '{}' set (|to)?",
        "(What|Which) '{}' (is given|was given|has been entered|is shown|do you see|is it|was entered)?",
        "How (does the '{}' read|is '{}' filled in|is '{}' set)?",
    ),
    "fields": (
        f"{_SAY} (which|what) fields (there are|it has|I can fill in|the form has|are on the screen).",
        f"{_GIVE} (the fields|all fields|a list of the fields|the field labels|the names of all fields|the labels).",
        "(What|Which) (inputs|text fields|form fields|input fields|labels|entries) (are there|does the form have|are visible|do you see|are displayed|exist)?",
        "(Enumerate|Print|Write down|Extract|Read out|Name|Mention) (the|all|all the) (fields|field labels|field names|form fields|inputs).",
        f"{_POLITE} (list|name|read|enumerate) (the|all) fields?",
        "(Field labels|All fields|Names of the fields|Field names|Form fields|Input fields)?",
        "What (do I have to|must I|should I|could I) (fill in|enter|type in)?",
        "What (data|information) (is asked for|does the form ask for|is wanted|does it want)?",
        "How are the fields (called|named|labelled)?",
    ),
    "count_fields": (
        "How many (fields|text fields|inputs|input fields|form fields|entries) (exist|are visible|are on the screen|are displayed|appear|do we have|do I have to fill in|are in the form|does it have|can be filled)?",
        f"{_SAY} how many (fields|inputs|text fields) (there are|it has|you see|are on the screen|the form has).",
        f"{_GIVE} the (number|count) of (inputs|text fields|form fields).",
        f"{_POLITE} count the (fields|inputs)?",
        "(Field count|Amount of fields|Count of fields|Total fields|Number of inputs|Number of text fields)?",
        "(What|Which) is the (count|amount|total) of (fields|inputs)?",
    ),
    "tallest": (
        f"{_SAY} (which|what) bar (is the tallest|is highest|is the largest|reaches highest|has the maximum|is the longest).",
        "(What|Which) (bar|column|category|one of the bars) (reaches highest|stands highest|is on top|is the longest|is longest|leads|wins|has the most|has the maximum|is the maximum|is the top one|goes up most)?",
        "(What|Which) (is|has) the (maximum|greatest|top|longest) (bar|column|value|category)?",
        f"{_GIVE} the (tallest|highest|largest|biggest|longest) (bar|column|category).",
        "(Highest bar|Largest bar|Biggest bar|Longest bar|Maximum|Top bar|Highest column|Highest value)?",
        "(Name|Read|Find) the (highest|largest|biggest|longest) (bar|column).",
        f"{_POLITE} (name|tell me|find) the (tallest|highest|largest) bar?",
        "What is (first by height|at the top of the chart|the winner)?",
    ),
    "shortest": (
        f"{_SAY} (which|what) bar (is the shortest|is lowest|is the smallest|has the minimum).",
        "(What|Which) (bar|column|category|one of the bars) (stands lowest|is at the bottom|is short|is lowest|loses|has the least|has the minimum|is the minimum|is the tiniest|is the least tall)?",
        "(What|Which) (is|has) the (minimum|least|tiniest) (bar|column|value|category)?",
        f"{_GIVE} the (shortest|lowest|smallest|tiniest) (bar|column|category).",
        "(Lowest bar|Smallest bar|Tiniest bar|Minimum|Lowest column|Lowest value|Smallest value)?",
        "(Name|Read|Find) the (lowest|smallest|tiniest) (bar|column).",
        f"{_POLITE} (name|tell me|find) the (shortest|lowest|smallest) bar?",
    ),
    "count_bars": (
        "How many (bars|columns|categories) (exist|are visible|are on the screen|are displayed|appear|are drawn|does it have|are plotted|does this chart show)?",
        f"{_SAY} how many (bars|columns) (there are|it has|you see|the chart has|are drawn).",
        f"{_GIVE} the (number|count) of (columns|categories).",
        f"{_POLITE} count the (bars|columns)?",
        "(Bar count|Amount of bars|Count of bars|Total bars|Number of columns|Number of categories)?",
        "(What|Which) is the (count|amount|total) of bars?",
    ),
    "bar_labels": (
        f"{_SAY} (which|what) bars (there are|it has|the chart has|are drawn).",
        f"{_GIVE} (the bars|all bars|a list of the bars|the bar labels|the labels of the chart|the categories).",
        "(What|Which) (categories|labels|names|columns) (are there|does the chart have|are shown|do you see|are displayed|are plotted|stand under the bars)?",
        "(Enumerate|Print|Write down|Extract|Read out|Read|Mention) (the|all|all the) (bars|bar labels|categories|names of the bars|labels of the bars).",
        f"{_POLITE} (list|name|read) (the|all) bars?",
        "(Bar labels|All bars|Names of the bars|Categories|Axis labels|Labels of the bars)?",
        "How are the bars (called|named|labelled)?",
    ),
    "bar_value": (
        f"{_SAY} (the value of the '{{}}' bar|how high '{{}}' is|how much '{{}}' is|what '{{}}' stands at|what number '{{}}' has).",
        f"{_GIVE} (the value of '{{}}'|the '{{}}' value|the number of the '{{}}' bar|the height of '{{}}').",
        "(What|Which) (number|figure|amount) (stands|is shown|is written|is) (above|on|over|at|on top of) (the '{}' bar|'{}')?",
        "How (high|tall|much|big) is (the '{}' bar|the bar '{}'|'{}' in the chart)?",
        "(What|Which) (amount|figure|height) does (the '{}' bar|'{}'|the bar '{}') (have|reach|show)?",
        "('{}' value|Height of '{}'|Number for '{}'|Value for '{}'|'{}' bar value|Value of the '{}' bar)?",
        f"{_POLITE} (read|tell me|give me) (the value of '{{}}'|the '{{}}' value)?",
        "(Read|Quote|Extract|State) the (value|number) of (the '{}' bar|'{}').",
        "(At what|At which) (value|height|number) is '{}'?",
    ),
    "bar_colour": (
        f"{_SAY} (what|which) {_COLOUR} (the '{{}}' bar|'{{}}'|the bar '{{}}') (is|has).",
        f"(What|Which) {_COLOUR} does (the '{{}}' bar|the bar '{{}}') have?",
        f"{_GIVE} the {_COLOUR} of (the '{{}}' bar|the bar '{{}}').",
        f"{_COLOUR} of the '{{}}' bar?",
        f"'{{}}' bar {_COLOUR}?",
        "(How|In what colour) is (the '{}' bar|the bar '{}'|'{}') (painted|filled|coloured|shown)?",
    ),
    "terminal_passed": (
        f"{_SAY} (how many tests are green|how many tests succeeded|how many tests were successful|how many passed|the number of passed tests).",
        "How many (tests|checks|cases|test cases) (went well|are ok|are fine|are passing|were passed|did succeed|ran without error|worked|went through|are good)?",
        "(What|Which) (number|count|amount) of (tests|checks) (passed|succeeded|is green|went well)?",
        f"{_GIVE} the (number of passed tests|count of passed tests|number of successful tests|passed count).",
        "(Passes|Tests passed|Passed|Successful tests|Green tests|Number of successful tests|Count of passed tests|Passing tests)?",
        f"{_POLITE} (tell me|say) how many (passed|tests succeeded|tests are green)?",
        "(Read|Extract|State) the number of (passed|successful) tests.",
    ),
    "terminal_failed": (
        f"{_SAY} (how many tests are red|how many tests broke|how many failed|the number of failed tests|how many failures there are).",
        "How many (tests|checks|cases|test cases) (went wrong|are broken|broke|were failed|did fail|did not succeed|are bad|ended in an error|were unsuccessful)?",
        "(What|Which) (number|count|amount) of (tests|checks) (failed|broke|is red|went wrong)?",
        f"{_GIVE} the (number of failed tests|count of failed tests|number of failures|failed count).",
        "(Failures|Tests failed|Failed|Broken tests|Red tests|Number of failures|Count of failed tests)?",
        f"{_POLITE} (tell me|say) how many (failed|tests broke|tests are red)?",
        "(Read|Extract|State) the number of (failed|broken) tests.",
    ),
    "terminal_command": (
        f"{_SAY} (which|what) command (was run|was entered|is shown|was executed|was called).",
        f"{_GIVE} the (command|command line|executed command|first line's command).",
        "(What|Which) (command|command line|program|instruction) (was executed|was called|was started|was given|was launched|stands after the prompt|is after the dollar sign|comes after the $|is at the prompt)?",
        f"{_POLITE} (read|tell me|give me|quote) the (command|command line)?",
        "(Quote|Copy|Extract|Write down|Repeat|Spell|Print) the (command|command line|executed command).",
        "(Command line|Executed command|The command|Shell command|Terminal command)?",
        "What did (they|someone|I|we|the developer) (run|execute|enter|type|call|start)?",
        "What's (being run|the command line|running|been executed|after the prompt)?",
    ),
    "terminal_file": (
        f"{_SAY} (which|what) file (was tested|is shown|was run|is mentioned).",
        f"{_GIVE} the (file|file name|name of the file|test file).",
        "(What|Which) (file|test file|file name|source file) (is mentioned|is named|appears|is displayed|was checked|was executed|does it show|is listed|stands there|is it)?",
        f"{_POLITE} (read|tell me|give me|quote) the (file|file name)?",
        "(Quote|Copy|Extract|Write down|Read|Spell|Print) the (file|file name|name of the file).",
        "(File|Test file|Name of the file|The file|Tested file|Filename)?",
        "What's (the file name|the filename|the test file|the name of the file)?",
    ),
    "terminal_time": (
        f"{_SAY} (how long it took|how long the run took|how long this took|the time it took|the run time|how many seconds it took).",
        f"{_GIVE} the (duration|time|run time|elapsed time|time taken).",
        "How much time (was needed|passed|did it need|did the tests need|did the run need|was spent)?",
        "How (long|many seconds) did (the run|this|everything|the test run|all of it|the whole thing|they) (take|last|need)?",
        "(What|Which) (time|duration) (is shown|was needed|is displayed|is given|was measured|did they need|did it need|do you see|does it say)?",
        f"{_POLITE} (read|tell me|give me) the (duration|time|run time)?",
        "(Duration|Run time|Elapsed time|Time taken|Seconds|Total time|Time needed|Test time|Running time)?",
        "(Read|Quote|Extract|State) the (duration|time|run time|elapsed time).",
        "What's the (time|duration|run time|elapsed time|total time)?",
        "(In what time|In how many seconds) (did it finish|was it done|did the tests run|were the tests done)?",
    ),
    "theme": (
        f"{_SAY} (whether|if) (it|the screen|the window|this) is (dark or light|light or dark).",
        "Is (it|this|the theme|the picture|the window's background) (a light or a dark one|light or dark|dark or light)?",
        "(What|Which) (mode|theme|colour scheme|color scheme|scheme) (is it|is this|is used|is active|is on|does it use|do you see), (dark or light|light or dark)?",
        "(Light or dark|Dark or light|Dark or light theme|Light or dark theme|Dark mode or light mode|Light or dark background)?",
        "(Bright or dark|Is it bright or dark|Is the screen bright or dark|Black or white background|Does it look dark or light)?",
    ),
    "screen_kind": (
        f"{_SAY} (what kind of screen this is|what kind of window it is|what is shown|which type of screen this is|what sort of screen I see).",
        "(What|Which) (category|class|kind|type|sort) of (screen|window|picture|view|page|interface|program|screenshot) (is it|is this|is that|do we have here|am I looking at|does it show|is displayed|have I got)?",
        "(Screen type|Type of screen|Window type|Sort of screen|Kind of window|Type of window|What kind)?",
        "(Classify|Categorise|Name the type of) (the|this) (screen|window|screenshot|view).",
        "(Is this|Is it) a (form, a dialog, settings, a chart or a terminal|dialog, a chart, a form or something else|terminal, a form or a dialog)?",
        "What am I looking at, in (one|two|a few) words?",
        f"{_GIVE} the (type|kind) of (this screen|this window|the screen|the window).",
    ),
    "read_all": (
        f"{_SAY} (everything that is written|all that is written|all words|what is written on it|the whole text).",
        f"{_GIVE} (all the words|the whole text|the full text|every word|all of the text|the complete text|everything that is written).",
        "(Transcribe|Copy|Extract|Write down|Type out|Print|Quote|Spell out|Dump|Return|Recognise) (all the text|everything|the whole text|every word|all words|all of it|the complete text|the text on the screen|the text).",
        f"{_POLITE} (read|read out|transcribe|write down|copy) (everything|all the text|all of it|the whole text|the text|every word)?",
        "(All text|Full text|Text on the screen|Whole text|All the text|Every word|OCR please|Transcription|Text)?",
        "(What|Which) (words|texts|letters) (are|stand|can be read) (on the screen|there|in this picture|here|in the window)?",
        "What (is written|stands|can be read) (on the screen|on it|there|in this picture|in the window)?",
        "What does (all of it|the text|everything|the whole screen) say?",
    ),
    "describe": (
        f"{_SAY} what (this is about|is going on|is to be seen|is in the picture|this screenshot shows|the screen shows).",
        f"{_GIVE} (a description|a summary|a short description|a short summary|an overview|a brief description) (|of it|of this|of the screen|of the picture|of this window|of what you see).",
        "(Summarise|Summarize|Sum up|Explain|Characterise|Outline) (it|this|the picture|the window|this window|this picture|what you see|what is shown|the screenshot|the screen).",
        f"{_POLITE} (describe|explain|summarise|summarize) (it|this|the picture|this window|the screen|the screenshot|what you see|what is going on)?",
        "(Description|Summary|Overview|Short description|Image description|Describe|Explain)?",
        "(What's|What is) (going on|happening|to see|visible|this picture about|this about|on this screenshot|this a picture of) (|here)?",
        "What (can be seen|is to be seen|is there to see|do we see|am I seeing) (|here|in this picture|on this screen)?",
        "Describe (the window|this window|this|everything you see|what is there|what is on the screen|the content) (|briefly|shortly|for me|in a sentence).",
    ),
}


def _spelled_out(grammar: str) -> list[str]:
    """Every text of a grammar, each once."""
    texts = [grammar]
    while "(" in texts[0]:
        inner = [_INNERMOST.search(text) for text in texts]
        texts = list(dict.fromkeys(text[: group.start()] + choice + text[group.end() :] for text, group in zip(texts, inner) for choice in group[1].split("|")))
    tidy = (re.sub(r"\s+([?.,])", r"\1", re.sub(r"\s+", " ", text)).strip() for text in texts)
    return [text[0].upper() + text[1:] for text in tidy]


_INNERMOST = re.compile(r"\(([^()]*)\)")


def spoken(text: str) -> list[str]:
    """The words of a wording, without what does not change it: capitals, marks, contractions, quotes, British or American."""
    text = text.lower().replace("'{}'", "{}").replace("color", "colour")
    text = re.sub(r"(what|where|who|it|that)'s", r"\1 is", text)
    return re.sub(r"[?.,!]", "", text).split()


def apart(first: list[str], second: list[str]) -> int:
    """Words to be inserted, deleted or exchanged (2 stands for more)."""
    if abs(len(first) - len(second)) > 1:
        return 2
    start = 0
    while start < min(len(first), len(second)) and first[start] == second[start]:
        start += 1
    end = 0
    while end < min(len(first), len(second)) - start and first[-1 - end] == second[-1 - end]:
        end += 1
    left = max(len(first), len(second)) - start - end
    return min(left, 2)


@functools.lru_cache(maxsize=None)
def composed(topic: str, unseen: tuple[str, ...]) -> tuple[tuple[str, ...], ...]:
    """The texts of each grammar of a topic, without those that are within a word of what only the evaluation asks."""
    kept = [spoken(text) for text in unseen]
    groups = (tuple(text for text in _spelled_out(grammar) if all(apart(spoken(text), other) > 1 for other in kept)) for grammar in _GRAMMAR[topic])
    return tuple(group for group in groups if group)
