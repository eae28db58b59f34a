"""Flower's options, as `--conf` takes them: what it shows of tasks, and how long it keeps it.

https://flower.readthedocs.io/en/latest/config.html
"""

from worker.queue.flower_pages import describe_task, lead_workers_to_their_tasks

read_only = True
enable_events = False  # asks workers by remote control, which they do not have
persistent = True
max_tasks = 5_000  # pages stand still while they are saved, 20,000 of them for seconds
purge_offline_workers = 86_400  # seconds: a container has a new name each time it starts
natural_time = True
tasks_columns = "name,state,args,result,runtime,retries,received,worker,uuid"
format_task = describe_task
lead_workers_to_their_tasks()
