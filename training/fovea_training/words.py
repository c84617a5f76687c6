"""The words that appear on synthetic screens.

A curated list of user-interface and everyday words. A fixed part of the words (by a hash of the word) is held out: those words
never appear on training screens, only in the evaluation. Words that the question templates use as whole tokens
are kept out of the list, so that a text read from the screen is always written character by character.
"""

import random
import string
import zlib

HELD_OUT_EVERY = 8
"""One word in this many is never shown in training."""

_WORDS = """
access account action active adapter address admin agent alarm album alert alias align anchor animal answer apple april archive
area arrow artist asset atlas audio august author autumn avatar award backup badge balance banana band bank banner barrel base
basic basket batch battery beach bean berry bicycle bird blank blend block board boat body bonus book boost border bottle
bowl brain branch bread brick bridge brief bright broker browser brush bucket budget buffer build bundle burst butter cabin
cable cache camera camp canal candle canvas carbon card cargo carpet castle catalog cedar cell census channel chapter charge
cheese cherry chess choice circle city class clean clear client cliff climate clock cloud cluster coast code coffee coin
column comet comment common company compass concert console contact contract cookie copper coral corner cotton council counter
country course cover craft crane cream credit cricket crown crystal cube current curve custom cycle daily dance data date
debug decade december deck deep default degree delay delta demo depth desert design desk detail device dialect diary digital
dinner direct disk display doctor document dolphin domain donor door double draft dragon drama dream drill drive drum duplex
eagle early earth east echo edge edition editor effect eight elbow electric element email embed emblem empire empty engine
enter entry envelope equal error escape estate event every exact example except export extra fabric factor falcon family
farm fast feather feature february federal fence ferry fetch fiber fiction figure filter final finger finish fire fish
flag flame flash flavor fleet flight float flood floor flower fluid focus folder follow font forest fork format forum
fossil frame freedom fresh friday friend front frost fruit fuel full function future galaxy gallery game garage garden gate
gear general gentle giant ginger glacier glass global glove goal gold golf good grain grammar grand grant grape graph
grass gravity great grid ground group growth guard guest guide guitar habit half hammer handle happy harbor hardware harvest
hawk header health heart heavy height hello helper hero hidden hill history hobby hockey holiday home honey horizon horse
hotel hour house hunter icon idea image import inbox index input insect inside invoice iron island item ivory jacket january
jazz jewel job join journal journey judge juice july jump june jungle junior kernel kettle keyboard kingdom kitchen kite
knife label ladder lake lamp land language laptop laser last later launch layer leader leaf league learn leather legend lemon
length lesson letter level library light lily limit line linen link lion liquid list live local lock logic long loop
lotus lucky lunch machine magnet mail main major manager mango manual map maple marble march margin marine market mask
master match matrix meadow media medium meeting melody member memory mental menu merge message metal meter method metro
middle midnight mile milk mineral minor minute mirror mixer mobile model modern module monday monitor month moon morning motion
motor mountain mouse movie museum music mystery name nation native nature navy nearby needle nest network neutral never
night noble node noise normal north notebook notice novel november number object ocean october office olive online open
opera option orbit orchard order organ origin outdoor output oval owner oxygen package page paint palace panel panda paper
parade parcel parent park parrot part partner party patch path patrol pattern pause payment peace peach peak pearl pencil
people pepper perfect period permit person phone photo phrase piano picture pigeon pilot pine pixel pizza place plan planet
plant plastic plate play player plaza plugin pocket poem poet point polar police policy pond pool port portal position
post potato pottery powder power practice prefix present press pretty price primary print prism private prize problem process
product profile project prompt proof proper protein proxy public pulse pumpkin puzzle pyramid quality quarter queen query
quest queue quick quiet quote rabbit radar radio railway rain random range rapid ratio raven reader ready real reason receipt
record recovery reference region relay release remote render repair repeat reply report request rescue reserve resort result
return review reward rhythm ribbon rice ride ring river road robot rocket role roof room root rope rose rotor round
route router royal rubber ruby rule runner rural safari safety sail salad salmon sample sand saturday sauce scale scene
schedule school science scope score screen script scroll season second secret section sector secure select senior sensor
september series server service session seven shadow shape share sheet shelf shell shield ship shirt shop shore short shoulder
signal silence silk silver simple single sister sketch skill sky sleep slide slope slow small smart smoke smooth snow soap
social socket soft solar soldier solid solo sound soup source south space spare spark special speed sphere spice spider
spiral sport spring square squad stable stadium staff stage stamp standard star start state static station status steam steel
stereo stock stone storage store storm story stream street strike string strong studio style subject sugar summer sunday
sunset supply support surface swan sweet switch symbol syntax system table tablet tail talent target task taste teacher team
temple tender tennis tent terrace theory thread three thunder thursday ticket tiger timber time timer tiny tip toast today
token tomato tongue tool topic torch total tower track trade traffic trail train transit travel treaty tree trend trial
tribe trigger trip trophy tropic truck trust tuesday tulip tunnel turbo turtle twelve twin type umbrella union unique unit
update upload upper urban usage user vacuum valid valley value vault vector vehicle velvet vendor version vessel video village
vintage violin virus visit vista vital voice volcano volume wagon walnut water wave weather wedding weekend west whale wheat
wheel whisper white width wild willow wind winter wire wisdom wizard wolf wonder wood wool word work world yacht year yoga
young zebra zero zone zoom
"""

BUTTONS = (
    "OK Cancel Save Apply Close Retry Yes No Next Back Delete Open Help Skip Run Stop Submit Install Login Search Reset Add Edit Send "
    "Accept Reject Copy Paste Undo Redo Print Share Exit Done Start Update"
).split()
FIELDS = (
    "Name Email User Host Port City Path Key Phone Branch Token Server Date Group Label Folder Owner Region Country Street Company"
).split()
COMMANDS = ["npm test", "pytest", "make test", "cargo test", "go test", "mvn test", "yarn test", "ctest"]
SUFFIXES = ["ts", "py", "js", "rs", "go"]


def is_held_out(word: str) -> bool:
    """Whether a word is kept for the evaluation, by a hash that no run can change."""
    return zlib.crc32(word.lower().encode()) % HELD_OUT_EVERY == 0


class WordSource:
    """Draws words for one side of the split: list words or random letters."""

    def __init__(self, rng: random.Random, held_out: bool, random_share: float, excluded: frozenset[str]):
        self.rng = rng
        self.held_out = held_out
        self.random_share = random_share
        self._list = [word for word in _WORDS.split() if word not in excluded and is_held_out(word) == held_out]

    def word(self, longest: int = 9) -> str:
        """A lower-case word of at most `longest` letters."""
        while True:
            if self.rng.random() < self.random_share:
                word = "".join(self.rng.choices(string.ascii_lowercase, k=self.rng.randint(3, 7)))
                if is_held_out(word) != self.held_out:
                    continue
            else:
                word = self.rng.choice(self._list)
            if len(word) <= longest:
                return word

    def label(self, known: list[str], share: float) -> str:
        """A label: one of the `known` ones for a share of the draws, else a capitalised word."""
        return self.rng.choice(known) if known and self.rng.random() < share else self.word(8).capitalize()

    def phrase(self, fewest: int, most: int, longest: int) -> str:
        """Several words that fit into `longest` characters; the first is mostly capitalised."""
        text = self.word(longest)
        for _ in range(self.rng.randint(fewest, most) - 1):
            longer = text + " " + self.word()
            if len(longer) > longest:
                break
            text = longer
        style = self.rng.random()
        return text.title() if style < 0.25 else text[0].upper() + text[1:] if style < 0.9 else text

    def value(self) -> str:
        """What a text field may hold."""
        kind = self.rng.random()
        if kind < 0.5:
            word = self.word()
            return word if self.rng.random() < 0.5 else word.capitalize()
        if kind < 0.75:
            return str(self.rng.randint(0, 99999))
        if kind < 0.85:
            return f"{self.rng.randint(0, 20)}.{self.rng.randint(0, 20)}.{self.rng.randint(0, 99)}"
        if kind < 0.93:
            return self.word(7) + str(self.rng.randint(0, 99))
        return self.word(6) + self.rng.choice("._-/@") + self.word(5)
