"""`distnn chaos`: a user's own job, undisturbed and then with everything going wrong; the bytes are compared.

`blows` says what can be done and when (pure), `watch` reads the run directory, `process` owns the job's
processes, `injectors` strike, `rounds` drives one disturbed run, `campaign` all of them, `verdict` compares.
"""
