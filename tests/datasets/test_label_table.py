"""Label files: how columns are found, and which lines are faulty."""

import pytest

from datasets import label_table


@pytest.fixture
def read(tmp_path):
    def read(text, **options):
        path = tmp_path / "labels.csv"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return label_table.read(str(path), **options)

    return read


def test_a_plain_file(read):
    table = read("file,label\na/1.jpg,cat\nb.jpg, dog \n")
    assert table == label_table.LabelTable(
        columns=("label",),
        rows=(
            label_table.Row(2, "a/1.jpg", ("cat",), None),
            label_table.Row(3, "b.jpg", ("dog",), None),
        ),
        faults={},
        repeats={},
        files=frozenset(["a/1.jpg", "b.jpg"]),
    )


def test_byte_order_mark_quotes_blank_lines_and_other_line_ends(read):
    text = (
        '\ufefffile,label\r\n"a, b.jpg","said ""meow"""\r\n\r\n"c\nd.jpg",Алиса\r\ne,f'
    )
    rows = read(text).rows
    assert [(row.line, row.file, row.cells) for row in rows] == [
        (2, "a, b.jpg", ('said "meow"',)),
        (4, "c\nd.jpg", ("Алиса",)),
        (6, "e", ("f",)),
    ]


@pytest.mark.parametrize(
    ("header", "options", "file", "columns"),
    [
        ("label,filename", {}, "2", ("label",)),
        ("label,FILE_NAME", {}, "2", ("label",)),
        ("path,image", {}, "2", ("path",)),
        ("photo,label", {}, "1", ("label",)),
        ("photo,score", {"file_column": "score"}, "2", ("photo",)),
        ("file,image", {"label_columns": ["file"]}, "2", ("file",)),
        ("a,b,c", {"label_columns": ["c", "b"]}, "1", ("c", "b")),
        ("a,b,c", {"file_column": "b"}, "2", ("a", "c")),
        ("Split,b,c", {"file_column": "b", "label_columns": ["Split"]}, "2", None),
    ],
)
def test_columns(read, header, options, file, columns):
    table = read(f"{header}\n1,2{',3' * (header.count(',') - 1)}\n", **options)
    assert table.columns == (columns or ("Split",))
    assert table.rows[0].file == file


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("", {}, "is empty"),
        ("file,label,label\n", {}, "several columns 'label'"),
        ("file\n1.jpg\n", {}, "at least one other column"),
        ("file,split\n1.jpg,train\n", {}, "at least one other column"),
        ("file;label\n", {}, "separated by commas.*'file;label'"),
        ("file,label\n", {"file_column": "flie"}, "no column 'flie'.*mean 'file'"),
        ("file,label\n", {"label_columns": ["x"]}, "no column 'x'; .*'file', 'label'"),
        (
            "file,label\n",
            {"file_column": "file", "label_columns": ["file"]},
            "at least one other column",
        ),
        ("file,label\na,b\n", {}, None),
        (b"file,label\ncaf\xe9.jpg,cat\n", {}, "not UTF-8"),
        ('file,label\na,b\nc,"d"e\n', {}, "line 3, is not CSV"),
    ],
)
def test_files_that_are_no_label_files(read, text, options, message):
    if message is None:
        assert read(text, **options).rows
        return
    with pytest.raises(ValueError, match=message):
        read(text, **options)


def test_a_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        label_table.read(str(tmp_path / "none.csv"))


def test_faulty_lines_are_left_out_and_named(read):
    table = read(
        "file,a,b,split\n"
        "1.jpg,x,y,train\n"
        "2.jpg,x,y\n"
        "3.jpg,x,y,train,z\n"
        ",x,y,train\n"
        "5.jpg,x,,train\n"
        "6.jpg,x,y,trian\n"
        "7.jpg,x,y,\n"
        "8.jpg,x,y,VAL\n"
    )
    assert [(row.file, row.cells, row.split) for row in table.rows] == [
        ("1.jpg", ("x", "y"), "train"),
        ("5.jpg", ("x", ""), "train"),
        ("8.jpg", ("x", "y"), "validation"),
    ]
    assert table.faults == {
        3: "there are 3 cells, but the first line names 4 columns",
        4: "there are 5 cells, but the first line names 4 columns",
        5: "column 'file' is empty",
        7: "column 'split' is 'trian', but must be train, validation or test",
        8: "column 'split' is '', but must be train, validation or test",
    }


def test_repeated_lines_are_dropped_and_contradictions_are_faults(read):
    table = read(
        "file,label,split\n"
        "1.jpg,x,train\n"
        "2.jpg,x,train\n"
        "./1.jpg, x,train\n"
        "2.jpg,y,train\n"
        "3.jpg,y,train\n"
        "2.jpg,x,train\n"
        "3.jpg,y,test\n"
        "1.jpg,x,train\n"
    )
    assert [(row.line, row.file) for row in table.rows] == [(2, "1.jpg")]
    assert table.repeats == {
        4: "'1.jpg' is listed again, as in line 2",
        9: "'1.jpg' is listed again, as in line 2",
    }
    assert table.faults == {
        3: "'2.jpg' is labeled differently in line 5, 7",
        5: "'2.jpg' is labeled differently in line 3, 7",
        7: "'2.jpg' is labeled differently in line 3, 5",
        6: "'3.jpg' is labeled differently in line 8",
        8: "'3.jpg' is labeled differently in line 6",
    }
