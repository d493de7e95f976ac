"""Bad folders, and bad command lines of `weightshare evidence`, each with a part of the error."""

LONG = "a" * 300

#: Values of `--out`.
OUTS = {
    "": "out must be a path",
    "a/" * 2000: "must be a writable folder",
    "file": "must be a folder, got a file; choose another path with --out",
    "file/x": "must be a writable folder, got Not a directory; choose another path",
    "pipe": "must be a folder, got a file; choose another path with --out",
    "loop": "must be a writable folder, got File exists;",
    "link": "must be a folder, got a file; choose another path with --out",
    "good.npz": "must be a folder, got a file; choose another path with --out",
    "images": "must be empty or contain a study, got 'cat' and 1 more; choose",
    "folder_of_files": "must be empty or contain a study, got 'notes.txt'; choose another",
    ".": "must be empty or contain a study, got 'array.npz' and 89 more; choose",
    "/proc/x": "must be a writable folder, got No such file or directory; choose",
    "/dev/null": "must be a folder, got a file; choose another path with --out",
    "/dev/null/x": "must be a writable folder, got Not a directory; choose another path",
    LONG: "must be a writable folder, got File name too long; choose another",
    "folder/" + LONG: "must be a writable folder, got File name too long; choose another",
    "a\x00b": "out must be a path, got 'a\\x00b'",
    "ü" * 200: "must be a writable folder, got File name too long; choose another",
    "study_text": "must be the record of a trial, got something else; choose another",
    "study_number": "must be the record of a trial, got something else; choose another",
    "study_list": "must be the record of a trial, got something else; choose another",
    "study_deep": "must be the record of a trial, got something else; choose another",
    "study_binary": "must be the record of a trial, got something else; choose another",
    "study_folder": "must be a file, got something else; choose another folder with --out",
    "study_pipe": "must be a file, got something else; choose another folder with --out",
    "study_report": "must be empty or contain a study, got 'report.html'; choose another",
    "study_lock": "must be a file, got something else; choose another folder with --out",
    "study_states": "must be a writable folder, got File exists; choose another path with",
    "study_torn": "must be the record of a trial, got something else; choose another",
    "study_older": "full; 1 seed, digest d507a4e825ace235), got another study (digits:",
    "study_null": "must be the record of a trial, got something else; choose another",
}

#: Arguments after `--report`.
REPORTS = [
    ([""], "must contain the records.jsonl of a study, got No such file or"),
    (["absent"], "must contain the records.jsonl of a study, got No such file or"),
    (["file"], "must contain the records.jsonl of a study, got Not a directory; name"),
    (["file/x"], "must contain the records.jsonl of a study, got Not a directory; name"),
    (["pipe"], "must contain the records.jsonl of a study, got Not a directory; name"),
    (["loop"], "must contain the records.jsonl of a study, got Too many levels of"),
    (["folder"], "must contain the records.jsonl of a study, got No such file or"),
    (["images"], "must contain the records.jsonl of a study, got No such file or"),
    (["."], "must contain the records.jsonl of a study, got No such file or"),
    (["/dev/null"], "must contain the records.jsonl of a study, got Not a directory; name"),
    ([LONG], "must contain the records.jsonl of a study, got File name too long;"),
    (["a\x00b"], "must contain the records.jsonl of a study, got ValueError: embedded"),
    (["a\nb"], "must contain the records.jsonl of a study, got No such file or"),
    (["\x1b[31m"], "must contain the records.jsonl of a study, got No such file or"),
    (["-"], "must contain the records.jsonl of a study, got No such file or"),
    (["good.npz"], "must contain the records.jsonl of a study, got Not a directory; name"),
    (["study_text"], "must contain a finished trial, got none"),
    (["study_number"], "must contain a finished trial, got none"),
    (["study_torn"], "must contain a finished trial, got none"),
    (["study_empty"], "must contain a finished trial, got none"),
    (["study_older"], "must be the record of a trial, with a"),
    (["study_list"], "must contain a finished trial, got none"),
    (["study_deep"], "must contain a finished trial, got none"),
    (["study_null"], "must contain a finished trial, got none"),
    (["study_binary"], "must be the record of a trial, with a"),
    (["study_folder"], "must contain the records.jsonl of a study, got OSError: records.jsonl"),
    (["study_pipe"], "must contain the records.jsonl of a study, got OSError: records.jsonl"),
    (["study_report"], "must contain the records.jsonl of a study, got No such file or"),
    (["study_lock"], "must contain the records.jsonl of a study, got No such file or"),
    (["study_states"], "must contain the records.jsonl of a study, got No such file or"),
    (["study_done", "--out", ""], "must be writable, got it exists and is not a regular file; choose"),
    (
        ["study_done", "--out", "file/x"],
        "must be writable, got Not a directory; choose another file with --out",
    ),
    (["study_done", "--out", "folder"], "must be writable, got it exists and is not a regular file; choose"),
    (["study_done", "--out", LONG], "must be writable, got File name too long; choose another file with"),
    (["study_done", "--out", "a\x00b"], "must be writable, got embedded null byte; choose another file with"),
    (
        ["study_done", "--out", "/proc/x"],
        "must be writable, got No such file or directory; choose another file",
    ),
    (
        ["study_done", "--out", "/dev/full"],
        "must be writable, got it exists and is not a regular file; choose",
    ),
    (["study_done", "--out", "pipe"], "must be writable, got it exists and is not a regular file; choose"),
    (
        ["study_done", "--out", "absent/x.html"],
        "must be writable, got No such file or directory; choose another file",
    ),
]

#: Whole command lines.
LINES = [
    (["study"], "Invalid value for DATA: give a data set, or --report with the folder o"),
    (["study", "--out", "x"], "Invalid value for DATA: give a data set, or --report with the folder o"),
    (["study", "npz:good.npz", "npz:good.npz"], "Got unexpected extra argument(s) (npz:good.npz)"),
    (["study", "npz:good.npz", "--bogus"], "No such option: --bogus (Possible options: --out)"),
    (["study", "npz:good.npz", "--seeds"], "Option '--seeds' requires an argument."),
    (["study", "npz:good.npz", "--dry-run=1"], "Option '--dry-run' does not take a value."),
    (["study", "npz:good.npz", "--dry-run", "--dry-run"], "Option '--dry-run' must be given only once."),
    (["study", "folder:images_sizes", "--resize", "3"], "resize must be at least 4, got 3"),
    (["study", "folder:images_sizes", "--resize", "513"], "resize must be at most 512 pixels, got 513 x 513"),
    (
        ["study", "folder:images_sizes", "--resize", "4x4x4"],
        'resize must be a size such as "64" or "64x48", got \'4x4x4\'',
    ),
    (
        ["study", "folder:images_sizes", "--resize", "x"],
        'resize must be a size such as "64" or "64x48", got \'x\'',
    ),
    (
        ["study", "folder:images_sizes", "--resize", ""],
        'resize must be a size such as "64" or "64x48", got \'\'',
    ),
    (
        ["study", "digits", "--resize", "8"],
        "resize is only for folders of images, got resize with 'digits'; omit",
    ),
    (["study", "study_data:none", "--resize", "8"], "resize is only for folders of images, got resize with"),
    (
        ["study", "npz:labels_floats.npz", "--metric", "accuracy"],
        "metric must be rmse, mae, r2, or a function,",
    ),
    (
        ["study", "npz:labels_floats.npz", "--task", "classification"],
        "must be integers for classification, got float64; number the classes",
    ),
    (["study", "npz:good.npz", "--report", "study_done"], "'data' cannot be given together with '--report'."),
    (
        ["study", "--report", "study_done", "--seeds", "2"],
        "'--seeds' cannot be given together with '--report'.",
    ),
    (
        ["study", "--dry-run", "--report", "study_done"],
        "'--dry-run' cannot be given together with '--report'.",
    ),
]

#: Arguments of `weightshare evidence`.
EVIDENCE = [
    (["x" * 3000, "--out", "ev"], "the name must be one of lecun1989"),
    (["kunin2019", "--seeds", "1", "--out", "a/" * 2000], "must be a writable folder"),
    (["kunin2019", "--seeds", "1", "--out", ""], "out must be a folder, got ''"),
    (["kunin2019", "--data", ""], "must be one of digits"),
    (["", "--out", "ev"], "the name must be one of lecun1989, zipcode1989,"),
    (["x", "--out", "ev"], "the name must be one of lecun1989, zipcode1989,"),
    (["kunin", "--out", "ev"], "the name must be one of lecun1989, zipcode1989,"),
    (["KUNIN2019", "--out", "ev"], "the name must be one of lecun1989, zipcode1989,"),
    (["all ", "--out", "ev"], "the name must be one of lecun1989, zipcode1989,"),
    (["lecun1989,kunin2019", "--out", "ev"], "the name must be one of lecun1989, zipcode1989,"),
    (["\x1b", "--out", "ev"], "the name must be one of lecun1989, zipcode1989,"),
    (["../x", "--out", "ev"], "the name must be one of lecun1989, zipcode1989,"),
    (["kunin2019", "--seeds", "", "--out", "ev"], "must be a valid integer, got ''"),
    (["kunin2019", "--seeds", "0", "--out", "ev"], "seeds must be at least 1, got 0"),
    (["kunin2019", "--seeds", "-1", "--out", "ev"], "seeds must be at least 1, got -1"),
    (["kunin2019", "--seeds", "x", "--out", "ev"], "must be a valid integer, got 'x'"),
    (["kunin2019", "--seeds", "1.5", "--out", "ev"], "must be a valid integer, got '1.5'"),
    (["kunin2019", "--seeds", "nan", "--out", "ev"], "must be a valid integer, got 'nan'"),
    (["kunin2019", "--workers", "", "--out", "ev"], "must be a valid integer, got ''"),
    (["kunin2019", "--workers", "0", "--out", "ev"], "workers must be at least 1, got 0"),
    (["kunin2019", "--workers", "-1", "--out", "ev"], "workers must be at least 1, got -1"),
    (["kunin2019", "--workers", "x", "--out", "ev"], "must be a valid integer, got 'x'"),
    (["kunin2019", "--workers", "1.5", "--out", "ev"], "must be a valid integer, got '1.5'"),
    (["kunin2019", "--workers", "nan", "--out", "ev"], "must be a valid integer, got 'nan'"),
    (
        ["kunin2019", "--seeds", "9" * 30, "--out", "ev"],
        "seeds must be at most 1,000,000, got 999,999,999,999,999,999,999,999,9",
    ),
    (["lecun1989", "--data", "", "--out", "ev", "--seeds", "1"], "must be one of digits, faces, npz:FILE,"),
    (["lecun1989", "--data", "x", "--out", "ev", "--seeds", "1"], "must be one of digits, faces, npz:FILE,"),
    (
        ["lecun1989", "--data", "npz:absent.npz", "--out", "ev", "--seeds", "1"],
        "must be a file, got a path that does not exist",
    ),
    (
        ["lecun1989", "--data", "npz:nan.npz", "--out", "ev", "--seeds", "1"],
        "must be finite numbers, got NaN or infinity in 16 examples, first in",
    ),
    (
        ["lecun1989", "--data", "npz:labels_floats.npz", "--out", "ev", "--seeds", "1"],
        "must be images with one class each, got regression data",
    ),
    (
        ["lecun1989", "--data", "npz:one_class.npz", "--out", "ev", "--seeds", "1"],
        "there must be at least 2 classes, got 1",
    ),
    (
        ["lecun1989", "--data", "folder:absent", "--out", "ev", "--seeds", "1"],
        "must be a folder with one subfolder of images",
    ),
    (
        ["lecun1989", "--data", "study_data:none", "--out", "ev", "--seeds", "1"],
        "data must be arrays (x, y) or (x_train,",
    ),
    (
        ["lecun1989", "--data", "study_data:series", "--out", "ev", "--seeds", "1"],
        "must be images with one class each, got classification data",
    ),
    (
        ["lecun1989", "--data", "study_data:volumes", "--out", "ev", "--seeds", "1"],
        "must be images with one class each, got classification data",
    ),
    (
        ["lecun1989", "--data", "npz:", "--out", "ev", "--seeds", "1"],
        "must be one of digits, faces, npz:FILE,",
    ),
    (
        ["lecun1989", "--data", "npz:small.npz", "--out", "ev", "--seeds", "1"],
        "must have at least 4 positions along each",
    ),
    (
        ["aligned-faces", "--data", "npz:good.npz", "--out", "ev", "--seeds", "1"],
        "aligned-faces makes its own data and takes none, got 'npz:good.npz';",
    ),
    (
        ["kunin2019", "--seeds", "1", "--out", "file"],
        "must be a writable folder, got File exists; choose another path",
    ),
    (
        ["kunin2019", "--seeds", "1", "--out", "file/x"],
        "must be a writable folder, got Not a directory; choose another path",
    ),
    (
        ["kunin2019", "--seeds", "1", "--out", "pipe"],
        "must be a writable folder, got File exists; choose another path",
    ),
    (
        ["kunin2019", "--seeds", "1", "--out", "loop"],
        "must be a writable folder, got File exists; choose another path",
    ),
    (
        ["kunin2019", "--seeds", "1", "--out", LONG],
        "must be a writable folder, got File name too long; choose another",
    ),
    (
        ["kunin2019", "--seeds", "1", "--out", "a\x00b"],
        "must be a writable folder, got ValueError: embedded null byte; choose",
    ),
    (
        ["kunin2019", "--seeds", "1", "--out", "/proc/x"],
        "must be a writable folder, got No such file or directory; choose",
    ),
    (
        ["kunin2019", "--seeds", "1", "--out", "/dev/null"],
        "must be a writable folder, got File exists; choose another path",
    ),
    ([], "Missing argument 'name'."),
    (["kunin2019", "x"], "Got unexpected extra argument(s) (x)"),
    (["kunin2019", "--bogus"], "No such option: --bogus (Possible options: --out)"),
    (["kunin2019", "--seeds", "1", "--seeds", "2"], "Option '--seeds' must be given only once."),
    (["all", "--data", "x"], "must be one of digits, faces, npz:FILE,"),
    (["all", "--seeds", "0"], "seeds must be at least 1, got 0"),
]
