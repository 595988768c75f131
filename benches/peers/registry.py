"""A registry as it is usually written in Python: FastAPI, SQLite, a token on every request, files on disk under their
SHA-256. What mregd is measured against by `benches/run`; it keeps no log, inspects nothing and syncs nothing.

    uvicorn --app-dir benches/peers registry:app --port 18220

Needs fastapi, uvicorn, python-multipart and pyjwt; PEER_DIR names the directory it writes to.
"""

import hashlib
import os
import sqlite3
import time
from pathlib import Path

import jwt
from fastapi import Depends, FastAPI, Header, HTTPException, UploadFile
from fastapi.responses import FileResponse

CHUNK = 1 << 20
SECRET = os.urandom(32)
HERE = Path(os.environ["PEER_DIR"])
app = FastAPI()
database = sqlite3.connect(HERE / "registry.db", check_same_thread=False)
database.execute("CREATE TABLE IF NOT EXISTS models (id INTEGER PRIMARY KEY, name TEXT, filename TEXT, sha256 TEXT, size INTEGER)")


@app.post("/login")
def login() -> dict:
    claims = {"sub": "admin", "role": "admin", "exp": int(time.time()) + 3600}
    return {"access_token": jwt.encode(claims, SECRET, algorithm="HS256"), "token_type": "bearer"}


def user(authorization: str = Header()) -> str:
    try:
        return jwt.decode(authorization.removeprefix("Bearer "), SECRET, algorithms=["HS256"])["sub"]
    except jwt.PyJWTError as error:
        raise HTTPException(401, "sign in again") from error


def row(model: int) -> tuple:
    found = database.execute("SELECT id, name, filename, sha256, size FROM models WHERE id = ?", (model,)).fetchone()
    if found is None:
        raise HTTPException(404, "there is no such model")
    return found


def shown(found: tuple) -> dict:
    return dict(zip(("id", "name", "filename", "sha256", "size"), found))


@app.post("/models", status_code=201)
def upload(file: UploadFile, name: str, _user: str = Depends(user)) -> dict:
    digest, size, staged = hashlib.sha256(), 0, HERE / f"staged-{os.urandom(8).hex()}"
    with staged.open("wb") as target:
        while chunk := file.file.read(CHUNK):
            digest.update(chunk)
            target.write(chunk)
            size += len(chunk)
    staged.rename(HERE / digest.hexdigest())
    with database:
        values = (name, file.filename, digest.hexdigest(), size)
        added = database.execute("INSERT INTO models (name, filename, sha256, size) VALUES (?, ?, ?, ?)", values)
    return shown(row(added.lastrowid))


@app.get("/models/{model}")
def read(model: int, _user: str = Depends(user)) -> dict:
    return shown(row(model))


@app.get("/models/{model}/download")
def download(model: int, _user: str = Depends(user)) -> FileResponse:
    found = row(model)
    return FileResponse(HERE / found[3], filename=found[2])
